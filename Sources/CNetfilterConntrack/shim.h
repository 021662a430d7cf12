// libnetfilter_conntrack for Swift: the one place that includes it.
//
// Netlink's own structures must have one importer, which is CMNL. The library's header wants them from libnfnetlink's only for its older
// half, of which nothing is used here: those headers are kept out, and what is needed of them stands below.
#ifndef TANDEM_CNETFILTERCONNTRACK_SHIM_H
#define TANDEM_CNETFILTERCONNTRACK_SHIM_H

#include <netinet/in.h>
#include <stdint.h>

#define __LIBNFNETLINK_H
#define _NFNETLINK_H
#define NFNL_SUBSYS_CTNETLINK 1
#define NFNL_SUBSYS_CTNETLINK_EXP 2
struct nlmsghdr;
struct nfnl_handle;
struct nfnl_subsys_handle;

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/linux_nfnetlink_conntrack.h>

// What follows the netlink header of every message (struct nfgenmsg).
struct tandem_nfgenmsg {
    uint8_t family;
    uint8_t version;
    uint16_t resource;
};

// Appends the entry's attributes to a message that begins with a netlink header. It does not look at the room that is left: 512
// octets are more than an entry of ours ever takes.
static inline int tandem_conntrack_append(void *message, const struct nf_conntrack *entry) {
    return nfct_nlmsg_build((struct nlmsghdr *)message, entry);
}

#endif
