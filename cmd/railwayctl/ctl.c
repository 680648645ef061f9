#include "cmd/railwayctl/ctl.h"

#include <arpa/inet.h>
#include <errno.h>

#include "cmd/railwayctl/escape.h"
#include "pkg/base/cleanup.h"

int ctl_open(struct ctl *ctl, struct rail_error *error)
{
	return rail_store_open_present(ctl->settings.state_directory, ctl->settings.run_directory,
				       &ctl->store, error);
}

int ctl_read(struct ctl *ctl, struct snapshot *ret_snapshot, struct rail_error *error)
{
	int result = ctl_open(ctl, error);

	if (result < 0)
		return result;
	if (!rail_store_is_there(ctl->store, RAIL_REGISTRY))
		ctl_say("no pod was ever added on this node: it has no registry yet");
	else if (!rail_store_is_there(ctl->store, RAIL_LIVE))
		ctl_say("no pod was added on this node since it booted");
	return snapshot_read(ctl->store, ret_snapshot, error);
}

static struct rail_json *report_json(const struct ctl_report *report)
{
	struct rail_json *document =
		report->record != NULL ? table_record_json(report->record) : rail_json_new_object();

	if (document != NULL && report->list != NULL &&
	    rail_json_put(document, report->list_name, table_json(report->list)) < 0) {
		rail_json_free(document);
		return NULL;
	}
	return document;
}

static int print_json(const struct ctl_report *report)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = report_json(report);
	RAIL_FREE char *text = rail_json_print(document);
	RAIL_FREE char *plain = text != NULL ? escape_json(text) : NULL;

	if (plain == NULL)
		return -ENOMEM;
	(void)puts(plain);
	return 0;
}

static int print_text(const struct ctl_report *report)
{
	int result = 0;

	if (report->record != NULL)
		result = table_print_record(report->record, stdout);
	if (result == 0 && report->record != NULL && report->list != NULL)
		(void)fputc('\n', stdout);
	if (result < 0 || report->list == NULL)
		return result;
	if (report->none != NULL && table_row_count(report->list) == 0) {
		(void)puts(report->none);
		return 0;
	}
	return table_print(report->list, stdout);
}

int ctl_print(const struct ctl *ctl, const struct ctl_report *report, struct rail_error *error)
{
	int result = 0;

	if (report->record != NULL)
		result = table_finish(report->record, error);
	if (result == 0 && report->list != NULL)
		result = table_finish(report->list, error);
	if (result < 0)
		return result;
	result = ctl->json ? print_json(report) : print_text(report);
	return result < 0 ? rail_fail_errno(error, -result, "print the outcome") : 0;
}

void ctl_say(const char *text)
{
	RAIL_FREE char *plain = escape_message(text);

	(void)fprintf(stderr, "railwayctl: %s\n", plain != NULL ? plain : "no memory is left");
}

const char *ctl_state_name(enum rail_attachment_state state)
{
	switch (state) {
	case RAIL_PENDING:
		return "pending";
	case RAIL_READY:
		return "ready";
	case RAIL_DEAD:
		return "dead";
	case RAIL_DISABLED:
		break;
	}
	return "disabled";
}

void ctl_put_address(struct table *table, const struct in6_addr *address)
{
	char text[INET6_ADDRSTRLEN];

	table_put_text(table, inet_ntop(AF_INET6, address, text, sizeof(text)));
}
