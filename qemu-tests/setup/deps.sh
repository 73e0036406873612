#!/bin/sh
# Installs the Debian packages that boots and tests need, and only those that
# are missing. Does nothing, in a few hundredths of a second, when all are there.
set -eu

# One package a line, then why it is needed.
packages='
qemu-system-x86 the machines that are booted
ipxe-qemu the network boot ROMs of those machines
ovmf UEFI firmware for those machines
systemd-boot-efi the stub of systemd, for netstage uki
sbsigntool its signatures
swtpm a TPM for those machines
tpm2-tools another reader of its event logs and quotes
openssl the private key of that firmware, unlocked
squashfs-tools mksquashfs, for netstage image
erofs-utils mkfs.erofs, the other image format
busybox-static the demo system and the baseline initrd
kmod depmod and modinfo
kbd loadkeys, the peer for key maps
zstd compressed initrds and modules
xz-utils compressed modules
cpio looking into initrds from outside
e2fsprogs ext4 disks for persistent roots
xfsprogs other file systems that disks may hold
btrfs-progs likewise
dosfstools likewise
f2fs-tools likewise
exfatprogs likewise
ntfs-3g likewise
udftools likewise
mtools files in an EFI system partition, without the kernel
genisoimage likewise
xorriso ISO images with Rock Ridge, and those that boot
fdisk sfdisk, the peer for partition tables
mmdebstrap a Debian with systemd as stage 2
patchelf that systemd as a Nix store would hold it
dnsmasq-base a real DHCP server
isc-dhcp-server another one
kea-dhcp4-server another one
radvd a real IPv6 router
nginx-light a real web server
docker-registry a real OCI registry
apache2-utils htpasswd, for its logins
skopeo another client of registries
iproute2 network namespaces and bridges
grub-common ISO images that boot, and GRUB as one program
grub-efi-amd64-bin of UEFI
grub-pc-bin of BIOS
binutils objcopy, for a unified kernel image by hand
qemu-system-arm machines of another architecture, in make recipes
refind a boot manager whose stanza is tried
kexec-tools a running system that boots the next
nftables packet loss and resets
cryptsetup-bin veritysetup, the peer for root hashes, and a disk that is locked
nix-bin Nix: the module is evaluated, a toplevel built, its closure packed
minisign the peer for signatures
chromium-headless-shell a browser, for the page of boot reports
openssh-client the peer for boot.ssh
man-db the manual pages of netstage, rendered
curl downloads to compare with, in make bench
wget likewise
dhcpcd-base a DHCP client to compare with, likewise
'

names=$(printf '%s' "$packages" | cut -d' ' -f1)

# dpkg-query answers in one go; packages it has never heard of go to stderr.
# shellcheck disable=SC2086 # the names are words on purpose
present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null |
	sed -n 's/^installed //p') || true

missing=
for name in $names; do
	case "
$present
" in
	*"
$name
"*) ;;
	*) missing="$missing $name" ;;
	esac
done
[ -n "$missing" ] || exit 0

echo "deps: installing what is missing:" >&2
for name in $missing; do
	printf '%s' "$packages" | sed -n "s/^$name /  $name: /p" >&2
done
if [ "$(id -u)" != 0 ]; then
	echo "deps: this needs root; or install them yourself: apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt() {
	apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}
install() {
	# shellcheck disable=SC2086
	apt install -y --no-install-recommends $missing
}
log=$(mktemp)
policy=
trap 'rm -f "$log" $policy' EXIT
trap 'exit 1' INT TERM HUP
# nginx is used as a program: its service is not to start.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
# Package lists may be missing or point to versions that are gone by now.
if ! install >"$log" 2>&1; then
	if ! { apt update && install; } >>"$log" 2>&1; then
		cat "$log" >&2
		echo "deps: apt-get could not install:$missing" >&2
		exit 1
	fi
fi
echo "deps: done" >&2
