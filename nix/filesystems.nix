# What the initrd needs for the file systems that are needed for boot besides the
# netboot layout: the agent's table of them, and the flags of netstage initrd.
{ lib, pkgs, fileSystems }:

let
  inherit (lib) concatMap concatStringsSep elem filter hasPrefix optional unique;

  device = fs: if fs.device != null then fs.device else "/dev/disk/by-label/${fs.label}";
  isTag = begins [ "LABEL=" "UUID=" "PARTLABEL=" "PARTUUID=" ];
  onDisk = fs: (hasPrefix "/dev/" (device fs) || isTag (device fs)) && !isBind fs;
  isBind = fs: elem "bind" fs.options || elem "rbind" fs.options;

  # What the initrd does not assemble, and names that only udev can tell.
  assembled = [ "/dev/mapper/" "/dev/md" "/dev/zvol/" "/dev/disk/by-path/" ];
  known = [ "/dev/disk/by-id/virtio-" "/dev/disk/by-id/nvme-" "/dev/disk/by-id/wwn-" ];
  begins = list: d: lib.any (p: hasPrefix p d) list;
  unknown = d: begins assembled d || hasPrefix "/dev/disk/by-id/" d && !begins known d;

  escape = builtins.replaceStrings [ "\\" " " "\t" "\n" "#" ] [ "\\134" "\\040" "\\011" "\\012" "\\043" ];
  line = fs: concatStringsSep " " [
    (escape (device fs))
    (escape fs.mountPoint)
    fs.fsType
    (escape (if fs.options == [ ] then "defaults" else concatStringsSep "," fs.options))
    "0"
    (if fs.noCheck or false || !onDisk fs then "0" else "2")
  ];

  # Those of no disk's are in the kernel, or packed anyway.
  builtin = [ "none" "tmpfs" "ramfs" "overlay" "squashfs" "erofs" ];
  types = filter (t: !elem t builtin) (unique (map (fs: fs.fsType) fileSystems));
  drivers = unique (concatMap (t: if t == "auto" then [ "ext4" "vfat" ] else [ t ]) types);

  # What checks a type, and its place.
  checkers = {
    ext2 = "${pkgs.e2fsprogs}/bin/e2fsck:/sbin/e2fsck";
    ext3 = checkers.ext2;
    ext4 = checkers.ext2;
    vfat = "${pkgs.dosfstools}/bin/fsck.vfat:/sbin/fsck.vfat";
    f2fs = "${pkgs.f2fs-tools}/bin/fsck.f2fs:/sbin/fsck.f2fs";
  };
  checked = unique (map (fs: fs.fsType) (filter (fs: onDisk fs && !(fs.noCheck or false)) fileSystems));
  programs = unique (concatMap (t: optional (checkers ? ${t}) checkers.${t}) checked);
in
{
  # Mounting them takes what the agent has not.
  unsupported = filter (
    fs: elem fs.fsType [ "zfs" "bcachefs" "nfs" "nfs4" ] || onDisk fs && unknown (device fs)
  ) fileSystems;

  # In fstab(5)'s form, in the order of mounting.
  table = lib.concatMapStrings (fs: line fs + "\n") fileSystems;

  flags =
    optional (lib.any onDisk fileSystems) "--disks"
    ++ concatMap (t: [ "--filesystem" t ]) drivers
    ++ concatMap (p: [ "--program" p ]) programs;
}
