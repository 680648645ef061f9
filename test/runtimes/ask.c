/*
 * ask HOST PORT: what an HTTP server says of "/", its headers left away; each attempt starts with
 * the name. Linked statically with musl, so that it is in a pod what a program of Alpine's is. A
 * server that does not listen yet is waited for; a name that is not there, or an address that
 * cannot be reached, is an answer: status 1.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { ATTEMPTS = 200, PAUSE_MS = 100, ANSWER_S = 5 };

static int say(int fd, const char *host)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	char answer[4096];
	size_t size = 0;
	ssize_t got;

	if (write(fd, request, sizeof(request) - 1) < 0)
		return 1;
	while (size < sizeof(answer) - 1 &&
	       (got = read(fd, answer + size, sizeof(answer) - 1 - size)) > 0)
		size += (size_t)got;
	answer[size] = '\0';

	const char *body = strstr(answer, "\r\n\r\n");
	if (body == NULL) {
		fprintf(stderr, "%s: no answer\n", host);
		return 1;
	}
	fputs(body + 4, stdout);
	return 0;
}

/* The status; -1 where the connection was refused. */
static int ask(const char *host, const char *port)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const struct timeval limit = {.tv_sec = ANSWER_S};
	struct addrinfo *addresses;
	int status = -1;

	int failure = getaddrinfo(host, port, &hints, &addresses);
	if (failure != 0) {
		fprintf(stderr, "%s: %s\n", host, gai_strerror(failure));
		return 1;
	}

	int fd = socket(addresses->ai_family, SOCK_STREAM, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, addresses->ai_addr, addresses->ai_addrlen) == 0) {
		status = say(fd, host);
	} else if (errno != ECONNREFUSED) {
		fprintf(stderr, "%s: %s\n", host, strerror(errno));
		status = 1;
	}
	(void)close(fd);
	freeaddrinfo(addresses);
	return status;
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

	if (argc != 3) {
		fprintf(stderr, "usage: ask HOST PORT\n");
		return 2;
	}
	for (int i = 0; i < ATTEMPTS; i++) {
		int status = ask(argv[1], argv[2]);
		if (status >= 0)
			return status;
		(void)nanosleep(&pause, NULL);
	}
	fprintf(stderr, "%s: nobody listens\n", argv[1]);
	return 1;
}
