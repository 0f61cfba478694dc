// SPDX-License-Identifier: Apache-2.0
/*
 * The sk_lookup program: which listener takes a connection (or an unconnected datagram) that is delivered to this network
 * namespace. It runs once for each such packet, before the kernel's own look-up, and never for packets of connections
 * that exist. Documentation/bpf/prog_sk_lookup.rst, include/uapi/linux/bpf.h.
 *
 * Needs no header: built for x86-64 and arm64 alike by `clang -target bpfel`, see README.md.
 */

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* include/linux/socket.h, include/uapi/linux/in.h */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
/* include/uapi/asm-generic/errno-base.h */
#define EEXIST 17

/* enum sk_action */
#define SK_DROP 0
#define SK_PASS 1

/* enum bpf_map_type, map flags */
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_LPM_TRIE 11
#define BPF_MAP_TYPE_SOCKMAP 15
#define BPF_F_NO_PREALLOC 1

struct bpf_sk_lookup {
	__u64 sk_or_cookie;
	__u32 family;
	__u32 protocol;
	__u32 remote_ip4;    /* network order */
	__u32 remote_ip6[4]; /* network order */
	__u16 remote_port;   /* network order */
	__u16 :16;
	__u32 local_ip4;    /* network order */
	__u32 local_ip6[4]; /* network order */
	__u32 local_port;   /* host order */
};

/* Numbers of helper functions: __BPF_FUNC_MAPPER */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_sk_release)(void *sk) = (void *)86;
static long (*bpf_sk_assign)(void *ctx, void *sk, __u64 flags) = (void *)124;

/* A map as libbpf reads it from BTF. */
#define NUMBER(name, value) int(*name)[value]
#define MAP(name, map_type, key_type, value_type, entries, flags) \
	struct {                                                  \
		NUMBER(type, map_type);                           \
		NUMBER(max_entries, entries);                     \
		NUMBER(map_flags, flags);                         \
		key_type *key;                                    \
		value_type *value;                                \
	} name SEC(".maps")

/* What the rest of Weir writes; src/map-content.ts has the same layouts. In host order unless said otherwise. */

struct settings {
	/* The source addresses of local flows that our routes brought here, in network order. */
	__u32 own4;
	__u32 own6[4];
	/* Whether any class has CLASS_OWN. */
	__u32 named;
	/* Whether what comes in by some interface is brought here too, with the source that it has. */
	__u32 forwarded;
};

struct prefix4 {
	__u32 length;
	__u32 address; /* network order */
};

struct prefix6 {
	__u32 length;
	__u32 address[4]; /* network order */
};

/* A class of destinations: its ranges of TCP ports, then those of UDP, each part sorted and disjoint. */
struct class {
	__u32 first;
	__u16 tcp;
	__u16 udp;
	__u32 flags;
};

/* A service names this address of the host: what the host itself sends there is looked at whatever its source. */
#define CLASS_OWN 1

struct range {
	__u16 first;
	__u16 last;
	__u32 sources; /* a list of sources, or ANY_SOURCE */
};

#define ANY_SOURCE 0
/* The list of the host's own addresses. */
#define OWN_ADDRESSES 0xffffffff

struct source4 {
	__u32 length; /* 32 bits of the list, then those of the address */
	__u32 list;
	__u32 address;
};

struct source6 {
	__u32 length;
	__u32 list;
	__u32 address[4];
};

#define RANGES 262144
/* The search below halves this many times at most: a class has fewer than 2^17 ranges of a protocol. */
#define HALVINGS 17

/* Sockets of one family and protocol; any of a SO_REUSEPORT group stands for the group. */
#define SOCKETS_PER_NETWORK 16

MAP(settings, BPF_MAP_TYPE_ARRAY, __u32, struct settings, 1, 0);
MAP(prefixes4, BPF_MAP_TYPE_LPM_TRIE, struct prefix4, struct class, 1048576, BPF_F_NO_PREALLOC);
MAP(prefixes6, BPF_MAP_TYPE_LPM_TRIE, struct prefix6, struct class, 1048576, BPF_F_NO_PREALLOC);
MAP(ranges, BPF_MAP_TYPE_ARRAY, __u32, struct range, RANGES, 0);
MAP(sources4, BPF_MAP_TYPE_LPM_TRIE, struct source4, __u8, 1048576, BPF_F_NO_PREALLOC);
MAP(sources6, BPF_MAP_TYPE_LPM_TRIE, struct source6, __u8, 1048576, BPF_F_NO_PREALLOC);
MAP(sockets, BPF_MAP_TYPE_SOCKMAP, __u32, __u64, 4 * SOCKETS_PER_NETWORK, 0);
/* How often each of enum counter was answered. */
MAP(counters, BPF_MAP_TYPE_ARRAY, __u32, __u64, 3, 0);

enum counter { CAPTURED, STRAYS, DROPPED };

INLINE void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* What is asked about a packet. Addresses in network order; of IPv4 only the first word is used. */
struct flow {
	__u32 family;
	__u32 protocol;
	__u32 port;
	__u32 local[4];
	__u32 remote[4];
};

/* The verifier wants each field read at a constant offset of the context, which an optimised read may not be. */
#define READ(field) (*(const volatile __typeof__(field) *)&(field))

INLINE struct flow flow_of(struct bpf_sk_lookup *ctx)
{
	struct flow flow = { READ(ctx->family), READ(ctx->protocol), READ(ctx->local_port), {}, {} };

	if (flow.family == AF_INET) {
		flow.local[0] = READ(ctx->local_ip4);
		flow.remote[0] = READ(ctx->remote_ip4);
		return flow;
	}
	flow.local[0] = READ(ctx->local_ip6[0]);
	flow.local[1] = READ(ctx->local_ip6[1]);
	flow.local[2] = READ(ctx->local_ip6[2]);
	flow.local[3] = READ(ctx->local_ip6[3]);
	flow.remote[0] = READ(ctx->remote_ip6[0]);
	flow.remote[1] = READ(ctx->remote_ip6[1]);
	flow.remote[2] = READ(ctx->remote_ip6[2]);
	flow.remote[3] = READ(ctx->remote_ip6[3]);
	return flow;
}

INLINE int has_source(const struct flow *flow, __u32 list)
{
	const __u32 *remote = flow->remote;

	if (list == ANY_SOURCE)
		return 1;
	if (flow->family == AF_INET) {
		struct source4 key = { 64, list, remote[0] };

		return bpf_map_lookup_elem(&sources4, &key) != 0;
	}
	struct source6 key = { 160, list, { remote[0], remote[1], remote[2], remote[3] } };

	return bpf_map_lookup_elem(&sources6, &key) != 0;
}

INLINE struct class *class_of(const struct flow *flow)
{
	const __u32 *local = flow->local;

	if (flow->family == AF_INET) {
		struct prefix4 key = { 32, local[0] };

		return bpf_map_lookup_elem(&prefixes4, &key);
	}
	struct prefix6 key = { 128, { local[0], local[1], local[2], local[3] } };

	return bpf_map_lookup_elem(&prefixes6, &key);
}

/* Whether the class wants the flow: a binary search among the ranges of its protocol. */
INLINE int wants(const struct class *class, const struct flow *flow)
{
	__u32 low = class->first;
	__u32 high = low + class->tcp;

	if (flow->protocol == IPPROTO_UDP) {
		low = high;
		high += class->udp;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < HALVINGS && low < high; i++) {
		__u32 middle = (low + high) / 2;
		struct range *range = bpf_map_lookup_elem(&ranges, &middle);

		if (!range)
			return 0;
		if (flow->port < range->first)
			high = middle;
		else if (flow->port > range->last)
			low = middle + 1;
		else
			return has_source(flow, range->sources);
	}
	return 0;
}

/* Whether the flow comes from the address that our routes give to local flows. */
INLINE int is_ours(const struct settings *set, const struct flow *flow)
{
	const __u32 *remote = flow->remote;

	if (flow->family == AF_INET)
		return remote[0] == set->own4;
	return remote[0] == set->own6[0] && remote[1] == set->own6[1] && remote[2] == set->own6[2] &&
	       remote[3] == set->own6[3];
}

/* Whether another owner's routes brought the flow here: 169.254.84.0/24, fd64:7765:6972:ffff::/64, in network order. */
INLINE int is_anothers(const struct flow *flow)
{
	const __u32 *remote = flow->remote;

	if (flow->family == AF_INET)
		return (remote[0] & 0x00ffffff) == 0x0054fea9;
	return remote[0] == 0x657764fd && remote[1] == 0xffff7269;
}

/* Whether a flow that does not come from our address is one to look at. */
INLINE int is_looked_at(const struct settings *set, const struct class *class, const struct flow *flow)
{
	if (class->flags & CLASS_OWN)
		return has_source(flow, OWN_ADDRESSES);
	return set->forwarded && !is_anothers(flow);
}

/* Gives the flow to the first of our sockets that lives. */
INLINE int assign(struct bpf_sk_lookup *ctx, const struct flow *flow)
{
	__u32 network = (flow->family == AF_INET6 ? 2 : 0) + (flow->protocol == IPPROTO_UDP ? 1 : 0);

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SOCKETS_PER_NETWORK; i++) {
		__u32 key = network * SOCKETS_PER_NETWORK + i;
		void *sk = bpf_map_lookup_elem(&sockets, &key);

		if (!sk)
			continue;
		long error = bpf_sk_assign(ctx, sk, 0);

		bpf_sk_release(sk);
		/* A program before this one may have decided already. */
		if (!error || error == -EEXIST)
			return SK_PASS;
		break;
	}
	/* Nobody else may have what is captured. */
	count(DROPPED);
	return SK_DROP;
}

SEC("sk_lookup")
int weir(struct bpf_sk_lookup *ctx)
{
	struct flow flow = flow_of(ctx);
	__u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);

	if (!set || (flow.protocol != IPPROTO_TCP && flow.protocol != IPPROTO_UDP))
		return SK_PASS;

	int ours = is_ours(set, &flow);

	/* Everything else that is delivered to the host, and there is a lot of it. */
	if (!ours && !set->named && !set->forwarded)
		return SK_PASS;

	struct class *class = class_of(&flow);
	int wanted = class && wants(class, &flow);

	if (wanted && (ours || is_looked_at(set, class, &flow))) {
		count(CAPTURED);
		return assign(ctx, &flow);
	}
	if (!ours)
		return SK_PASS;
	/*
	 * Routed here before the set was changed: it cannot reach the real host any more, but the data plane can, and knows
	 * what to do with flows that nobody wants.
	 */
	count(STRAYS);
	return assign(ctx, &flow);
}

char _license[] SEC("license") = "Apache-2.0";
