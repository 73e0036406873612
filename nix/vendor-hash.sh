#!/bin/sh
# vendor-hash.sh [--update]: prints the vendorHash of package.nix, or writes it
# to nix/vendor-hash. Run it after a change of go.mod or of what is imported.
#
# buildGoModule hashes the folder that "go mod vendor" makes, as a NAR (nixpkgs:
# pkgs/build-support/go/module.nix, without proxyVendor).
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
GOFLAGS='' go mod vendor -o "$work/vendor"
hash=$(nix --extra-experimental-features nix-command hash path "$work/vendor")
case ${1-} in
--update) echo "$hash" >nix/vendor-hash ;;
*) echo "$hash" ;;
esac
