// libmnl and the kernel's netlink headers for Swift: the one place that includes them.
//
// <linux/xfrm.h> and <linux/in6.h> define what <netinet/in.h> defines too. glibc's comes first, and the guards of
// <linux/libc-compat.h> keep the kernel's second definitions out, whatever a module map makes of the order.
#ifndef TANDEM_CMNL_SHIM_H
#define TANDEM_CMNL_SHIM_H

#include <netinet/in.h>

#define __UAPI_DEF_IN_ADDR 0
#define __UAPI_DEF_IN6_ADDR 0
#define __UAPI_DEF_IN6_ADDR_ALT 0
#define __UAPI_DEF_SOCKADDR_IN6 0
#define __UAPI_DEF_IPV6_MREQ 0
#define __UAPI_DEF_IPPROTO_V6 0
#define __UAPI_DEF_IPV6_OPTIONS 0
#define __UAPI_DEF_IN6_PKTINFO 0
#define __UAPI_DEF_IP6_MTUINFO 0

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stddef.h>
#include <sys/socket.h>

// The sizes of structures that end in a flexible array, without it: what the kernel expects before the key or the bitmap.
enum {
    tandem_algo_header_size = offsetof(struct xfrm_algo, alg_key),
    tandem_algo_auth_header_size = offsetof(struct xfrm_algo_auth, alg_key),
    tandem_algo_aead_header_size = offsetof(struct xfrm_algo_aead, alg_key),
    tandem_replay_esn_header_size = offsetof(struct xfrm_replay_state_esn, bmp),
};

// Declared only for _GNU_SOURCE, which Swift's import of glibc may go without.
static inline int tandem_unshare_network(void) {
    extern int unshare(int flags);
    return unshare(0x40000000);  // CLONE_NEWNET
}

static inline int tandem_enter_network(int descriptor) {
    extern int setns(int descriptor, int kind);
    return setns(descriptor, 0x40000000);  // CLONE_NEWNET
}

#endif
