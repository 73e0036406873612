#!/bin/sh
# registry.sh DIR PORT: Debian's docker-registry on the loopback device, without
# TLS or logins, until it is interrupted. DIR holds what is pushed.
set -eu

[ $# = 2 ] || { echo "usage: registry.sh DIR PORT" >&2; exit 1; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
port=$2
cat >"$dir/config.yml" <<END
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: "$dir/data"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
END
cat <<END
A registry at oci+http://127.0.0.1:$port, until Ctrl-C; what is pushed stays in $dir.

  bin/netstage push DIR oci+http://127.0.0.1:$port/web:1
  bin/netstage serve --from oci+http://127.0.0.1:$port/web:1

Machines in QEMU find it at oci+http://10.0.2.2:$port.
END
export OTEL_TRACES_EXPORTER=none
exec docker-registry serve "$dir/config.yml"
