#include "pkg/dns/nameservers.h"

#include <arpa/inet.h>
#include <string.h>

bool rail_nameserver_parse(const char *text, struct rail_endpoint *ret_endpoint)
{
	struct rail_endpoint endpoint = {.port = 53};

	if (inet_pton(AF_INET, text, &endpoint.address.v4) == 1)
		endpoint.family = AF_INET;
	else if (inet_pton(AF_INET6, text, &endpoint.address.v6) == 1)
		endpoint.family = AF_INET6;
	else
		return false;
	*ret_endpoint = endpoint;
	return true;
}

size_t rail_nameservers_parse(const char *text,
			      struct rail_endpoint nameservers[static RAIL_UPSTREAM_MAXIMUM])
{
	static const char keyword[] = "nameserver";
	size_t count = 0;

	while (*text != '\0' && count < RAIL_UPSTREAM_MAXIMUM) {
		const char *line = text;
		size_t length = strcspn(line, "\n");
		char address[INET6_ADDRSTRLEN];

		text += length + (line[length] == '\n' ? 1 : 0);
		if (strncmp(line, keyword, sizeof(keyword) - 1) != 0)
			continue;
		line += sizeof(keyword) - 1;

		size_t blanks = strspn(line, " \t");
		size_t size = strcspn(line + blanks, " \t\r\n#;");

		if (blanks == 0 || size >= sizeof(address))
			continue;
		memcpy(address, line + blanks, size);
		address[size] = '\0';
		if (rail_nameserver_parse(address, &nameservers[count]))
			count++;
	}
	return count;
}
