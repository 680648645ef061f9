#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/pause.h"
#include "plugins/railway-dns/resolverd/worker_internal.h"

enum {
	BATCH = 32,
	BATCHES_A_WAKE = 4, /* before another pod gets its turn */
};

/* The address that a datagram was sent to, or is sent from: of sockets that have more than one. */
union server_address {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* One for all pods: a batch is answered before the next one is read. */
struct rail_udp {
	struct mmsghdr received[BATCH];
	struct mmsghdr sent[BATCH];
	struct iovec received_parts[BATCH];
	struct iovec sent_parts[BATCH];
	struct sockaddr_in6 clients[BATCH];
	union server_address servers[BATCH]; /* of received, and as it is of sent */
	uint8_t queries[BATCH][RAIL_QUERY_SIZE_MAXIMUM];
	uint8_t answers[BATCH][RAIL_DNS_UDP_MAXIMUM];
};

int rail_udp_new(struct rail_udp **ret_udp, struct rail_error *error)
{
	struct rail_udp *udp = calloc(1, sizeof(*udp));

	if (udp == NULL)
		return rail_fail(error, ENOMEM, "no memory for packets");
	for (int i = 0; i < BATCH; i++) {
		udp->received_parts[i].iov_base = udp->queries[i];
		udp->received_parts[i].iov_len = sizeof(udp->queries[i]);
		udp->received[i].msg_hdr.msg_iov = &udp->received_parts[i];
		udp->received[i].msg_hdr.msg_iovlen = 1;
		udp->received[i].msg_hdr.msg_name = &udp->clients[i];
		udp->received[i].msg_hdr.msg_control = &udp->servers[i];
		udp->sent_parts[i].iov_base = udp->answers[i];
		udp->sent[i].msg_hdr.msg_iov = &udp->sent_parts[i];
		udp->sent[i].msg_hdr.msg_iovlen = 1;
		udp->sent[i].msg_hdr.msg_namelen = sizeof(udp->clients[i]);
	}
	*ret_udp = udp;
	return 0;
}

void rail_udp_free(struct rail_udp *udp)
{
	free(udp);
}

/* The address that a datagram was sent to; "::" where the socket has one only. */
static struct in6_addr take_server(struct msghdr *header)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(header);
	struct in6_pktinfo info = {.ipi6_addr = IN6ADDR_ANY_INIT};

	if (control == NULL || control->cmsg_level != IPPROTO_IPV6 ||
	    control->cmsg_type != IPV6_PKTINFO || control->cmsg_len != CMSG_LEN(sizeof(info)))
		return info.ipi6_addr;
	memcpy(&info, CMSG_DATA(control), sizeof(info));
	return info.ipi6_addr;
}

/* Has an answer sent from the address that was asked; the route decides about the interface. */
static void put_server(struct msghdr *header, union server_address *space,
		       const struct in6_addr *server)
{
	const struct in6_pktinfo info = {.ipi6_addr = *server};

	header->msg_control = NULL;
	header->msg_controllen = 0;
	if (IN6_IS_ADDR_UNSPECIFIED(server))
		return;
	space->header.cmsg_level = IPPROTO_IPV6;
	space->header.cmsg_type = IPV6_PKTINFO;
	space->header.cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(&space->header), &info, sizeof(info));
	header->msg_control = space;
	header->msg_controllen = sizeof(*space);
}

/* Writes the answer to a query, if there is one now; returns its size. */
static size_t answer_query(struct rail_worker_pod *pod, const struct rail_forward_client *client,
			   const uint8_t *query, size_t query_size, uint8_t *answer)
{
	const struct rail_dns_options options = {.ttl_s = pod->ttl_s};
	size_t size = 0;

	rail_crash(query, query_size);
	switch (rail_dns_answer(pod->environment->zone, &options, query, query_size, answer,
				RAIL_DNS_UDP_MAXIMUM, &size)) {
	case RAIL_DNS_DROP:
		rail_worker_count(pod->worker, RAIL_METRICS_DROPPED);
		return 0;
	case RAIL_DNS_ANSWER:
		return size;
	case RAIL_DNS_FORWARD:
		break;
	}
	if (rail_forward_query(pod, client, query, query_size, answer, RAIL_DNS_UDP_MAXIMUM,
			       &size) == 0)
		return size;
	return rail_dns_error(query, query_size, RAIL_DNS_SERVFAIL, answer, RAIL_DNS_UDP_MAXIMUM);
}

static void send_answers(const struct rail_worker_pod *pod, struct rail_udp *udp,
			 unsigned int count)
{
	unsigned int done = 0;

	/* What is not taken at the second attempt is lost, as packets are. */
	for (int attempt = 0; attempt < 2 && done < count; attempt++) {
		int sent = sendmmsg(pod->udp, udp->sent + done, count - done,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		/* The error is about the first one: go on behind it. */
		done += sent > 0 ? (unsigned int)sent : 1;
	}
}

/* For the query log; the time is that of the batch, like that of its metrics. */
static void note_answers(struct rail_worker_pod *pod, const struct rail_udp *udp,
			 unsigned int count, int64_t duration_us)
{
	for (unsigned int i = 0; i < count; i++) {
		/* Where its client stands is where its query does. */
		const struct sockaddr_in6 *client = udp->sent[i].msg_hdr.msg_name;
		size_t query = (size_t)(client - udp->clients);
		const struct rail_query_note note = {
			.query = udp->queries[query],
			.query_size = udp->received[query].msg_len,
			.answer = udp->answers[i],
			.answer_size = udp->sent_parts[i].iov_len,
			.duration_us = duration_us,
		};

		rail_queries_note(pod, &note);
	}
}

/* Returns whether there may be more to read. */
static bool serve_batch(struct rail_worker_pod *pod)
{
	struct rail_udp *udp = pod->worker->udp;
	unsigned int answer_count = 0;

	/* The kernel writes to these. */
	for (int i = 0; i < BATCH; i++) {
		udp->received[i].msg_hdr.msg_namelen = sizeof(udp->clients[i]);
		udp->received[i].msg_hdr.msg_controllen = sizeof(udp->servers[i]);
	}

	int count = recvmmsg(pod->udp, udp->received, BATCH, MSG_DONTWAIT, NULL);
	int64_t start_us = rail_worker_now_us();

	for (int i = 0; i < count; i++) {
		struct msghdr *header = &udp->received[i].msg_hdr;
		const struct rail_forward_client client = {.address = udp->clients[i],
							   .server = take_server(header)};

		/* Nobody listens at port 0: whoever wrote that means somebody else. */
		if ((header->msg_flags & MSG_TRUNC) != 0 ||
		    header->msg_namelen != sizeof(client.address) ||
		    client.address.sin6_port == 0) {
			rail_worker_count(pod->worker, RAIL_METRICS_DROPPED);
			continue;
		}

		size_t size = answer_query(pod, &client, udp->queries[i], udp->received[i].msg_len,
					   udp->answers[answer_count]);

		if (size == 0)
			continue;
		rail_metrics_count_answer(pod->environment->metrics, udp->answers[answer_count],
					  size);
		udp->sent_parts[answer_count].iov_len = size;
		udp->sent[answer_count].msg_hdr.msg_name = &udp->clients[i];
		put_server(&udp->sent[answer_count].msg_hdr, &udp->servers[i], &client.server);
		answer_count++;
	}
	if (answer_count != 0) {
		send_answers(pod, udp, answer_count);

		int64_t duration_us = rail_worker_now_us() - start_us;

		rail_metrics_observe(&pod->worker->metrics->latencies[RAIL_METRICS_LOCAL],
				     (uint64_t)duration_us, answer_count);
		if (pod->queries != NULL)
			note_answers(pod, udp, answer_count, duration_us);
	}
	return count == BATCH;
}

static void on_udp(void *context, uint32_t events)
{
	struct rail_worker_pod *pod = context;

	if ((events & EPOLLERR) != 0) {
		int cause = 0;
		socklen_t size = sizeof(cause);

		/* Reading it takes it away, or it would be reported for ever. */
		(void)getsockopt(pod->udp, SOL_SOCKET, SO_ERROR, &cause, &size);
		if (cause == ECONNABORTED)
			events |= EPOLLHUP;
	}
	if ((events & EPOLLHUP) != 0) {
		rail_worker_complain(pod->worker, "a pod's UDP socket is no longer usable", 0);
		rail_source_remove(&pod->udp_source);
		pod->broken = true;
		return;
	}
	rail_worker_take_up(pod->worker, pod->id);
	for (int i = 0; i < BATCHES_A_WAKE; i++)
		if (!serve_batch(pod))
			break;
	rail_worker_put_down(pod->worker);
}

int rail_udp_open(struct rail_worker_pod *pod, struct rail_error *error)
{
	return rail_loop_watch(pod->worker->loop, pod->udp, EPOLLIN, on_udp, pod, &pod->udp_source,
			       error);
}

void rail_udp_stop(struct rail_worker_pod *pod)
{
	rail_source_remove(&pod->udp_source);
}

void rail_udp_close(struct rail_worker_pod *pod)
{
	rail_udp_stop(pod);
	if (pod->udp >= 0)
		(void)close(pod->udp);
	pod->udp = -EBADF;
}

void rail_udp_reply(struct rail_worker_pod *pod, const struct rail_forward_client *client,
		    uint8_t *answer, size_t size)
{
	union server_address server = {0};
	struct sockaddr_in6 address = client->address;
	struct iovec part = {.iov_base = answer, .iov_len = size};
	struct msghdr message = {.msg_name = &address,
				 .msg_namelen = sizeof(address),
				 .msg_iov = &part,
				 .msg_iovlen = 1};

	put_server(&message, &server, &client->server);
	(void)sendmsg(pod->udp, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
