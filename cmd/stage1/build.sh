#!/bin/sh
# Builds the agent: build.sh OUT [VERSION], by default that of the file VERSION.
# Static, without HTTP/2 (the agent speaks HTTP/1.1 only), and with inlining only
# where a boot spends its time: half a megabyte less, and no slower to start or
# to fetch. The agent's clock is never before SOURCE_DATE_EPOCH, in seconds, by
# default the commit's time. It begins with entry, for the sake of what the
# kernel puts into its environment.
set -eu
cd "$(dirname "$0")/../.."
set -- "$1" "${2:-$(cat VERSION)}" -gcflags=all=-l
for hot in runtime internal/... syscall sync/... netstage/fetch/...; do
	set -- "$@" "-gcflags=$hot="
done
for cold in kept manifest oci ref vouch; do
	set -- "$@" "-gcflags=netstage/fetch/$cold=-l"
done
out=$1 version=$2
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
shift 2
CGO_ENABLED=0 exec go build -buildmode=exe -trimpath -tags nethttpomithttp2 "$@" -ldflags="-s -w -funcalign=16 -E main.entry -X main.stamp=stage1-version[$version] -X main.epoch=$epoch" -o "$out" ./cmd/stage1
