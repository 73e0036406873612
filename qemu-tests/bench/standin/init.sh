#!/bin/sh
# The script that the agent replaces, as a stand-in: the steps of nixpkgs'
# stage-1-init.sh with its patch (rootfs= and a bare wget), in their order, for
# a netboot image. Where the original does more (LVM, every line to /dev/kmsg
# with a date, fsck, a flush of the NIC), this one does not: in its favour.
#
# The stand-ins differ in what lies beside this script, the list in
# /etc/modules and udev, and by rootfs.sha256= on the command line.
export PATH=/bin
root=/mnt-root

# mark puts the begin of a phase into the kernel's log. No process is started.
mark() {
	echo "<7>bench: $1" >/dev/kmsg
}

special() {
	mkdir -p "$3"
	mount -n -t "$1" -o "$2" "$1" "$3"
}

# Special file systems.
mkdir -p /etc/udev /tmp
: >/etc/fstab
: >/etc/udev/hwdb.bin
: >/etc/initrd-release
ln -s /proc/mounts /etc/mtab
special devtmpfs nosuid,strictatime,mode=755,size=5% /dev
mark pseudo
special proc nosuid,noexec,nodev /proc
special sysfs nosuid,noexec,nodev /sys
special devpts nosuid,noexec,mode=620,ptmxmode=0666,gid=3 /dev/pts
special tmpfs nosuid,nodev,strictatime,mode=1777,size=50% /dev/shm
special tmpfs nosuid,nodev,strictatime,mode=755,size=25% /run
special ramfs nosuid,nodev,mode=750 /run/keys
ln -s /proc/self/fd /dev/fd

# The command line.
init=/init image= base= digest=
read -r cmdline </proc/cmdline
for parameter in $cmdline; do
	case $parameter in
	init=*) init=${parameter#*=} ;;
	rootfs=*) image=${parameter#*=} ;;
	rootfs.base=*) base=${parameter#*=} ;;
	rootfs.sha256=*) digest=${parameter#*=} ;;
	esac
done

mark modules
echo /sbin/modprobe >/proc/sys/kernel/modprobe
while read -r module; do
	echo "loading module $module..."
	/sbin/modprobe "$module"
done </etc/modules

settle() {
	:
}
if [ -e /lib/systemd/systemd-udevd ]; then
	mark udev
	echo "running udev..."
	settle() {
		udevadm settle
	}
	/lib/systemd/systemd-udevd --daemon
	udevadm trigger --action=add
	settle
fi

mark network
links=
for link in /sys/class/net/*; do
	link=${link##*/}
	[ "$link" = lo ] && continue
	echo "bringing up network interface $link..."
	ip link set dev "$link" up && links="$links $link"
done
for link in $links; do
	echo "acquiring IP address via DHCP on $link..."
	udhcpc --quit --now -i "$link" -O staticroutes --script /bin/lease
done

mark image
cd /
wget -O nix-store.squashfs "$base$image"
if [ -n "$digest" ]; then
	mark sha256sum
	echo "$digest  nix-store.squashfs" | sha256sum -c || exec reboot -f
fi

mark root
# The file systems of netboot.nix: what, where, type, options.
# There is no threads=multi: Debian's kernels don't know it.
while read -r device point type options; do
	settle
	echo "mounting $device on $point..."
	echo "$device $root$point $type $options" >>/etc/fstab
	mkdir -p "$root$point"
	case $options in
	*upperdir=*) mkdir -p $root/nix/.rw-store/store $root/nix/.rw-store/work ;;
	esac
	mount "$root$point"
done <<END
tmpfs / tmpfs mode=0755
/nix-store.squashfs /nix/.ro-store squashfs loop
tmpfs /nix/.rw-store tmpfs mode=0755
overlay /nix/store overlay lowerdir=$root/nix/.ro-store,upperdir=$root/nix/.rw-store/store,workdir=$root/nix/.rw-store/work
END

mark handover
if [ -e /lib/systemd/systemd-udevd ]; then
	udevadm control --exit
fi
echo /sbin/modprobe >/proc/sys/kernel/modprobe
mkdir -m 0755 -p $root/proc $root/sys $root/dev $root/run
for point in proc sys dev run; do
	mount --move "/$point" "$root/$point"
done
exec env -i /bin/switch_root $root "$init"
