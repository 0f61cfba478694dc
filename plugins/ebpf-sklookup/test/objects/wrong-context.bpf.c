// SPDX-License-Identifier: Apache-2.0
/* Reads behind its context, so that the verifier refuses it. Built as bpf/build.sh builds the real one. */
__attribute__((section("sk_lookup"), used)) int weir(void *ctx)
{
	return *(volatile unsigned int *)(ctx + 4096);
}

char _license[] __attribute__((section("license"), used)) = "Apache-2.0";
