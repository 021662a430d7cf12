// libnetfilter_conntrack for Swift: the one place that includes it. Messages are plain octets here, so that netlink's own
// structures have one importer, which is CMNL.
#ifndef TANDEM_CNETFILTERCONNTRACK_SHIM_H
#define TANDEM_CNETFILTERCONNTRACK_SHIM_H

#include <netinet/in.h>

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>

// Appends the entry's attributes to a message that begins with a netlink header. It does not look at the room that is left: 512
// octets are more than an entry of ours ever takes.
static inline int tandem_conntrack_append(void *message, const struct nf_conntrack *entry) {
    return nfct_nlmsg_build((struct nlmsghdr *)message, entry);
}

#endif
