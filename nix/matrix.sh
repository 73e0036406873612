#!/bin/sh
# Evaluates netstage with the configurations of matrix/configurations.nix on a
# whole nixpkgs, and tells what becomes of each:
#
#   nix/matrix.sh NIXPKGS [THIRD-PARTY [SYSTEM [PATTERN]]]
#
# THIRD-PARTY is a folder with checkouts of impermanence, preservation, disko,
# sops-nix, agenix, lanzaboote, nixos-images, srvos, microvm.nix and
# nixos-hardware; PATTERN chooses by name, as grep does. It takes some minutes; nothing is built. The exit
# status tells whether all is as configurations.nix has it, and whether
# docs/nixos.md has every option of boot.initrd.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
nixpkgs=$(cd "$1" && pwd)
third=null
if [ -n "${2-}" ]; then third=$(cd "$2" && pwd); fi
system=${3:-x86_64-linux}
pattern=${4:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

evaluate() { # a list of names in Nix
	nix-instantiate --store dummy:// --eval --strict --json \
		"$here/matrix/evaluate.nix" --arg nixpkgs "$nixpkgs" --arg third "$third" --argstr system "$system" --arg names "$1" 2>"$work/says"
}

wrong=0 count=0
evaluate '[ ]' | sed 's/","/\n/g' | tr -d '[]"' | grep -e "$pattern" >"$work/names"
batch=
one() {
	if ! result=$(evaluate "[ \"$1\" ]"); then
		result="[{\"name\":\"$1\",\"is\":\"ERROR\",\"right\":false,\"wanted\":\"\",\"says\":[\"$(grep -a 'error:' "$work/says" | tail -n 1 | tr -d '"\\')\"]}]"
	fi
	tell "$result"
}
tell() {
	printf '%s\n' "$1" | sed 's/^\[//; s/\]$//; s/},{/}\n{/g' >"$work/results"
	while IFS= read -r line; do
		count=$((count + 1))
		case $line in
		*'"right":true'*) ;;
		*)
			wrong=$((wrong + 1))
			printf 'WRONG '
			;;
		esac
		printf '%s\n' "$line" | sed 's/{"is":"\([^"]*\)","name":"\([^"]*\)","right":[a-z]*,"says":\(.*\),"wanted":"[^"]*"}/\1\t\2\t\3/'
	done <"$work/results"
}
try() { # several at once are faster, and one that breaks breaks all
	if result=$(evaluate "[ $1 ]"); then
		tell "$result"
		return
	fi
	eval "set -- $1"
	for name; do one "$name"; done
}

size=0
while IFS= read -r name <&3; do
	batch="$batch \"$name\"" size=$((size + 1))
	if [ "$size" = 3 ]; then
		try "$batch"
		batch='' size=0
	fi
done 3<"$work/names"
if [ -n "$batch" ]; then try "$batch"; fi
echo "$count configurations, $wrong not as they should be"

# An option of the old stage 1 is in a table by its name, or by a folder of it.
nix-instantiate --store dummy:// --eval --strict --json \
	"$here/matrix/options.nix" --arg nixpkgs "$nixpkgs" --argstr system "$system" 2>/dev/null | tr ',' '\n' | tr -d '[]"' >"$work/options"
untold=0
while IFS= read -r option; do
	folder=$option told=
	while [ "$folder" != boot.initrd ]; do
		if grep -qF -e "\`$option\`" -e "\`$folder.*\`" "$here/../docs/nixos.md"; then
			told=yes
			break
		fi
		folder=${folder%.*}
	done
	if [ -z "$told" ]; then
		untold=$((untold + 1))
		echo "docs/nixos.md does not tell of $option"
	fi
done <"$work/options"
echo "$(wc -l <"$work/options") options of boot.initrd, $untold of them not told of"
[ "$wrong" = 0 ] && [ "$untold" = 0 ]
