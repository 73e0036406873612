# What the initrd needs for the file systems that are needed for boot besides the
# netboot layout: the agent's table of them, and the flags of netstage initrd.
{ lib, pkgs, fileSystems, checkJournalingFS }:

let
  inherit (lib) any concatMap concatStringsSep elem filter hasPrefix optional removePrefix unique;

  device =
    fs:
    if fs.device != null then
      fs.device
    else if fs.label or null != null then
      "/dev/disk/by-label/${fs.label}"
    else
      "none";
  isTag = begins [ "LABEL=" "UUID=" "PARTLABEL=" "PARTUUID=" ];
  onDisk = fs: (hasPrefix "/dev/" (device fs) || isTag (device fs)) && !isBind fs;
  isBind = fs: elem "bind" fs.options || elem "rbind" fs.options;
  begins = list: d: any (p: hasPrefix p d) list;

  # What the initrd does not assemble, or only udev can tell: nodes of volumes,
  # LVM's /dev/GROUP/VOLUME among them, and other names than the agent reads
  # from the disks themselves.
  volumes = [ "/dev/mapper/" "/dev/md" "/dev/dm-" "/dev/zd" "/dev/zvol/" "/dev/bcache" "/dev/drbd" "/dev/nbd" "/dev/rbd" ];
  known = [
    "/dev/disk/by-label/"
    "/dev/disk/by-uuid/"
    "/dev/disk/by-partlabel/"
    "/dev/disk/by-partuuid/"
    "/dev/disk/by-id/virtio-"
    "/dev/disk/by-id/nvme-"
    "/dev/disk/by-id/wwn-"
  ];
  inFolder = d: hasPrefix "/dev/" d && lib.hasInfix "/" (removePrefix "/dev/" d);
  unknown = d: begins volumes d || inFolder d && !begins known d;

  # Types that a program mounts, or one that the initrd does not have prepares.
  byProgram = [ "zfs" "bcachefs" "nfs" "nfs4" "davfs" "afs" "lustre" "stratis" "glusterfs" "ceph" "vboxsf" "prl_fs" "vmhgfs" "apfs" "ecryptfs" "bindfs" "mergerfs" "sshfs" "s3fs" "envfs" "ntfs-3g" "fuse" "fuseblk" ];
  # Its program looks up the server and reads the password; the kernel is content
  # with an address and options.
  cifsByProgram =
    fs:
    elem fs.fsType [ "cifs" "smb3" ]
    && (any (begins [ "credentials=" "cred=" ]) fs.options || !any (begins [ "ip=" "addr=" ]) fs.options && builtins.match "//[0-9.]+/.*|//[^/]*:.*" (device fs) == null);
  foreign = fs: cifsByProgram fs || elem fs.fsType byProgram || hasPrefix "fuse." fs.fsType || fs.stratis.poolUuid or null != null;

  # At or above what the agent lays out itself, they would hide the image.
  hides = fs: hasPrefix "${fs.mountPoint}/" "/nix/store" || hasPrefix "/nix/store/" fs.mountPoint;

  # systemd stage 1 has nixpkgs write paths for its own root, /sysroot.
  unprefixed = builtins.replaceStrings [ "=/sysroot/" ":/sysroot/" ] [ "=/" ":/" ];
  escape = builtins.replaceStrings [ "\\" " " "\t" "\n" "#" ] [ "\\134" "\\040" "\\011" "\\012" "\\043" ];
  journaling = [ "ext3" "ext4" "xfs" "jfs" "f2fs" ];
  unchecked = fs: fs.noCheck or false || !onDisk fs || !checkJournalingFS && elem fs.fsType journaling;
  line = fs: concatStringsSep " " [
    (escape (device fs))
    (escape fs.mountPoint)
    fs.fsType
    (escape (if fs.options == [ ] then "defaults" else unprefixed (concatStringsSep "," fs.options)))
    "0"
    (if unchecked fs then "0" else "2")
  ];

  # Those of no disk's are in the kernel, or packed anyway.
  builtin = [ "none" "tmpfs" "ramfs" "overlay" "squashfs" "erofs" ];
  types = filter (t: !elem t builtin) (unique (map (fs: fs.fsType) (filter (fs: !isBind fs) fileSystems)));
  drivers = unique (concatMap (t: if t == "auto" then [ "ext4" "vfat" ] else [ t ]) types);
  # What carries a file system of a virtual machine's host.
  transports = { "9p" = [ "9pnet_virtio" ]; };

  # What checks a type, and its place.
  checkers = {
    ext2 = "${pkgs.e2fsprogs}/bin/e2fsck:/sbin/e2fsck";
    ext3 = checkers.ext2;
    ext4 = checkers.ext2;
    vfat = "${pkgs.dosfstools}/bin/fsck.vfat:/sbin/fsck.vfat";
    f2fs = "${pkgs.f2fs-tools}/bin/fsck.f2fs:/sbin/fsck.f2fs";
  };
  checked = unique (map (fs: fs.fsType) (filter (fs: !unchecked fs) fileSystems));
  programs = unique (concatMap (t: optional (checkers ? ${t}) checkers.${t}) checked);
in
{
  # Mounting them takes what the agent has not.
  unsupported = filter (fs: foreign fs || onDisk fs && unknown (device fs)) fileSystems;
  hiding = filter hides fileSystems;
  formatted = filter (fs: elem "x-systemd.makefs" fs.options) fileSystems;

  # In fstab(5)'s form, in the order of mounting.
  table = lib.concatMapStrings (fs: line fs + "\n") fileSystems;

  flags =
    optional (any onDisk fileSystems) "--disks"
    ++ concatMap (t: [ "--filesystem" t ]) drivers
    ++ concatMap (m: [ "--module" "?${m}" ]) (concatMap (t: transports.${t} or [ ]) types)
    ++ concatMap (p: [ "--program" p ]) programs;
}
