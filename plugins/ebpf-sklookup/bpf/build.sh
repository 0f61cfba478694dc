#!/bin/sh
# Compiles the program. Needs clang 14 and llvm-strip 14 (apt-get install clang-14 llvm-14); Weir itself needs neither.
# Usage: build.sh [OUTPUT]
set -eu
cd "$(dirname "$0")"
out=${1:-sklookup.bpf.o}
${CLANG:-clang-14} -target bpfel -mcpu=v2 -O2 -g -fno-ident "-fdebug-prefix-map=$PWD=." -Wall -Wextra -Wshadow -Werror -c sklookup.bpf.c -o "$out"
${LLVM_STRIP:-llvm-strip-14} -g "$out"
