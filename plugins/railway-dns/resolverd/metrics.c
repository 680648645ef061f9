#include "plugins/railway-dns/resolverd/metrics.h"

#include <string.h>

#include "pkg/base/bytes.h"
#include "pkg/base/shared.h"
#include "pkg/dns/message.h"

const uint32_t rail_metrics_bounds_us[RAIL_METRICS_BUCKETS - 1] = {
	25, 50, 100, 250, 500, 1000, 5000, 25000, 100000, 500000, 2000000};

int rail_metrics_map(int fd, struct rail_metrics **ret_metrics, struct rail_error *error)
{
	void *memory;
	int result = rail_shared_map(fd, sizeof(struct rail_metrics), &memory, error);

	if (result == 0)
		*ret_metrics = memory;
	return result;
}

int rail_metrics_create(int *ret_fd, struct rail_metrics **ret_metrics, struct rail_error *error)
{
	void *memory;
	int result = rail_shared_create("railway-metrics", sizeof(struct rail_metrics), ret_fd,
					&memory, error);

	if (result == 0)
		*ret_metrics = memory;
	return result;
}

void rail_metrics_unmap(struct rail_metrics *metrics)
{
	rail_shared_unmap(metrics, sizeof(*metrics));
}

uint64_t rail_metrics_prefix_number(const struct rail_prefix *prefix)
{
	uint64_t number = 1;

	for (size_t i = 0; i < sizeof(prefix->bytes); i++)
		number = number << 8 | prefix->bytes[i];
	return number;
}

static enum rail_metrics_type type_of(uint16_t type)
{
	switch (type) {
	case RAIL_DNS_TYPE_A:
		return RAIL_METRICS_A;
	case RAIL_DNS_TYPE_AAAA:
		return RAIL_METRICS_AAAA;
	case RAIL_DNS_TYPE_PTR:
		return RAIL_METRICS_PTR;
	case 33: /* SRV, RFC 2782 */
		return RAIL_METRICS_SRV;
	case RAIL_DNS_TYPE_TXT:
		return RAIL_METRICS_TXT;
	case RAIL_DNS_TYPE_SOA:
		return RAIL_METRICS_SOA;
	case RAIL_DNS_TYPE_NS:
		return RAIL_METRICS_NS;
	case 65: /* HTTPS, RFC 9460 */
		return RAIL_METRICS_HTTPS;
	case RAIL_DNS_TYPE_ANY:
		return RAIL_METRICS_ANY;
	default:
		return RAIL_METRICS_OTHER_TYPE;
	}
}

/* Of an answer of ours: its OPT, where it has one, is the end of it, without options (RFC 6891
 * 6.1.2). */
static uint8_t extended_rcode(const uint8_t *answer, size_t size)
{
	struct rail_reader reader = rail_reader_init(answer, size);

	if (size < RAIL_DNS_OPT_SIZE)
		return 0;
	(void)rail_read_view(&reader, size - RAIL_DNS_OPT_SIZE);
	if (rail_read_u8(&reader) != 0 || rail_read_u16(&reader) != RAIL_DNS_TYPE_OPT)
		return 0;
	(void)rail_read_u16(&reader); /* UDP size */
	return rail_read_u8(&reader);
}

static enum rail_metrics_answer answer_of(const struct rail_dns_header *header,
					  const uint8_t *answer, size_t size)
{
	/* BADVERS, which is nothing but this. */
	if (header->additional_count != 0 && extended_rcode(answer, size) != 0)
		return RAIL_METRICS_OTHER_ANSWER;
	switch (header->flags & RAIL_DNS_FLAG_RCODE) {
	case RAIL_DNS_NOERROR:
		return header->answer_count != 0 ? RAIL_METRICS_NOERROR : RAIL_METRICS_NODATA;
	case RAIL_DNS_NXDOMAIN:
		return RAIL_METRICS_NXDOMAIN;
	case RAIL_DNS_SERVFAIL:
		return RAIL_METRICS_SERVFAIL;
	case RAIL_DNS_REFUSED:
		return RAIL_METRICS_REFUSED;
	default:
		return RAIL_METRICS_OTHER_ANSWER;
	}
}

void rail_metrics_count_answer(struct rail_metrics_environment *environment, const uint8_t *answer,
			       size_t size)
{
	struct rail_reader reader = rail_reader_init(answer, size);
	struct rail_dns_header header = rail_dns_header_read(&reader);
	uint16_t type = 0;

	/* An error's answer may be without the question. */
	if (header.question_count != 0) {
		uint8_t length;

		while ((length = rail_read_u8(&reader)) != 0)
			(void)rail_read_view(&reader, length);
		type = rail_read_u16(&reader);
	}
	rail_metric_add(&environment->answers[type_of(type)][answer_of(&header, answer, size)], 1);
}

void rail_metrics_observe(struct rail_metrics_histogram *histogram, uint64_t duration_us,
			  uint64_t count)
{
	size_t bucket = 0;

	while (bucket < RAIL_METRICS_BUCKETS - 1 && duration_us > rail_metrics_bounds_us[bucket])
		bucket++;
	rail_metric_add(&histogram->buckets[bucket], count);
	rail_metric_add(&histogram->sum_us, duration_us * count);
}
