# SPDX-License-Identifier: ISC
#
# Builds bud-httpd and bud-copy against an installed libbud, in the directory where it is called:
#
#	make -f /usr/share/doc/libbud-dev/examples/examples.mk
#
# Needs a compiler, pkg-config, libbsd-dev, libevent-dev and liburing-dev.
here := $(dir $(lastword $(MAKEFILE_LIST)))
PKG_CONFIG ?= pkg-config
HTTPD_FLAGS ?= $(shell $(PKG_CONFIG) --cflags --libs libbud-event libbud libevent libbsd-overlay)
COPY_FLAGS ?= $(shell $(PKG_CONFIG) --cflags --libs libbud-uring libbud liburing libbsd-overlay)
CFLAGS ?= -O2 -Wall

# The sources include each other as "examples/...".
defines = -D_GNU_SOURCE -DPACKAGE_VERSION='"(example)"' \
	-DBUD_SOCKET_PATH='"/run/budd/budd.sock"' -I$(here)..

all: bud-httpd bud-copy

bud-httpd: $(wildcard $(here)httpd_*.c)
	$(CC) $(defines) $(CFLAGS) -o $@ $^ $(HTTPD_FLAGS)

bud-copy: $(wildcard $(here)copy*.c)
	$(CC) $(defines) $(CFLAGS) -o $@ $^ $(COPY_FLAGS)

.PHONY: all
