/*
 * What every C program does with a name: getaddrinfo, then connect to the first address that takes
 * it. Built twice, with glibc and, static, with musl (Alpine's C library).
 *
 *     lookup NAME              prints the addresses in their order
 *     lookup NAME PORT [TIMES] connects and prints what comes, as often as TIMES says
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct addrinfo *look_up(const char *name, const char *port)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	int result = getaddrinfo(name, port, &hints, &list);

	if (result != 0) {
		fprintf(stderr, "%s: %s\n", name, gai_strerror(result));
		exit(1);
	}
	return list;
}

static void print_addresses(const char *name)
{
	struct addrinfo *list = look_up(name, "80");
	char text[INET6_ADDRSTRLEN];

	for (const struct addrinfo *one = list; one != NULL; one = one->ai_next) {
		const void *address =
			one->ai_family == AF_INET6
				? (const void *)&(
					  (const struct sockaddr_in6 *)(const void *)one->ai_addr)
					  ->sin6_addr
				: (const void *)&(
					  (const struct sockaddr_in *)(const void *)one->ai_addr)
					  ->sin_addr;

		puts(inet_ntop(one->ai_family, address, text, sizeof(text)));
	}
	freeaddrinfo(list);
}

static void print_answer(const char *name, const char *port)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	struct addrinfo *list = look_up(name, port);
	const struct addrinfo *one = list;
	char reply[512];
	size_t size = 0;
	ssize_t part;
	int fd = -1;

	for (; one != NULL; one = one->ai_next) {
		fd = socket(one->ai_family, one->ai_socktype, 0);
		if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) == 0)
			break;
		close(fd);
	}
	if (one == NULL || write(fd, request, sizeof(request) - 1) != sizeof(request) - 1) {
		perror(name);
		exit(1);
	}
	while (size < sizeof(reply) - 1 &&
	       (part = read(fd, reply + size, sizeof(reply) - 1 - size)) > 0)
		size += (size_t)part;
	reply[size] = '\0';
	close(fd);
	freeaddrinfo(list);

	const char *body = strstr(reply, "\r\n\r\n");

	if (body == NULL) {
		fprintf(stderr, "%s: no answer\n", name);
		exit(1);
	}
	printf("%s", body + 4);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (argc == 2) {
		print_addresses(argv[1]);
		return 0;
	}
	for (int times = argc > 3 ? atoi(argv[3]) : 1; times > 0; times--)
		print_answer(argv[1], argv[2]);
	return 0;
}
