# Configurations that a nixpkgs and third parties' modules make, and what becomes
# of each with netstage:
#   works    it is booted as it is
#   warns    so it is, and a warning names what is not done
#   refused  an assertion says why it can't be
#   off      something else boots it
# initrd, image and table are texts of how initrd and image are made, and of the
# initrd's file systems; also is what else of it is evaluated.
{ nixpkgs, third, lib, system }:

let
  nixos = nixpkgs + "/nixos";
  inherit (lib) mapAttrs nameValuePair;
  works = config: { inherit config; is = "works"; };
  warns = text: config: { inherit config text; is = "warns"; };
  refused = text: config: { inherit config text; is = "refused"; };
  off = config: { inherit config; is = "off"; };
  image = variant: works { } // { also = config: [ config.system.build.images.${variant}.drvPath ]; };
  packs = texts: config: works config // { initrd = texts; };
  builds = texts: config: works config // { image = texts; };
  mounts = texts: config: works config // { table = texts; };
  disk = mount: more: { fileSystems.${mount} = { device = "/dev/disk/by-label/data"; fsType = "ext4"; } // more; };
  needed = disk "/persist" { neededForBoot = true; };
  fs = mount: device: fsType: { fileSystems.${mount} = { inherit device fsType; neededForBoot = true; }; };
  # What it names comes by pandoc, and so Haskell, which a checkout may be without.
  clevis = of: { pkgs, ... }: of pkgs.hello // { nixpkgs.overlays = [ (_: prev: { tpm2-tools = prev.hello; luksmeta = prev.hello; }) ]; };
  group = prefix: lib.mapAttrs' (name: nameValuePair "${prefix}: ${name}");

  toplevels = group "toplevel" {
    "as nixpkgs has it" = works { };
    "scripted" = works { boot.initrd.systemd.enable = false; };
    "systemd" = works { boot.initrd.systemd.enable = true; };
    "etc overlay" = packs [ "?erofs" ] { system.etc.overlay.enable = true; services.userborn.enable = true; };
    "etc overlay, immutable" = works { system.etc.overlay = { enable = true; mutable = false; }; services.userborn.enable = true; };
    "etc overlay, sysusers" = works { system.etc.overlay = { enable = true; mutable = false; }; systemd.sysusers.enable = true; users.mutableUsers = false; users.allowNoPasswordLogin = true; };
    "userborn" = works { services.userborn.enable = true; };
    "nixos-init" = works { system.nixos-init.enable = true; system.etc.overlay.enable = true; services.userborn.enable = true; };
    "perlless" = works { imports = [ (nixos + "/modules/profiles/perlless.nix") ]; };
    "bashless" = works { imports = [ (nixos + "/modules/profiles/bashless.nix") ]; };
    "no nix" = works { nix.enable = false; };
    "no switch" = works { system.switch.enable = false; };
    "a specialisation with another kernel" = warns "new would have another one" ({ lib, ... }: { specialisation.new.configuration = { pkgs, ... }: { boot.kernelPackages = lib.mkForce pkgs.linuxPackages_latest; }; });
    "another systemd" = works ({ pkgs, ... }: { systemd.package = pkgs.systemd.override { withSelinux = true; }; });
    "a specialisation" = works { specialisation.debug.configuration = { boot.kernelParams = [ "debug" ]; }; };
    "two imports of the module" = works { imports = [ ../module.nix ]; };
    "pkgs.netstage by an overlay" = works ({ lib, ... }: { nixpkgs.overlays = [ (final: _: { netstage = final.callPackage ../package.nix { }; }) ]; });
  };

  profiles = group "profile" (
    mapAttrs (_: file: works { imports = [ (nixos + "/modules/profiles/${file}.nix") ]; }) {
      minimal = "minimal";
      headless = "headless";
      hardened = "hardened";
      base = "base";
      qemu-guest = "qemu-guest";
      all-hardware = "all-hardware";
    }
    // {
      "image-based-appliance" = works { imports = [ (nixos + "/modules/profiles/image-based-appliance.nix") ]; users.allowNoPasswordLogin = true; };
      "installation-device" = works { imports = [ (nixos + "/modules/profiles/installation-device.nix") ]; };
      "netboot-base" = works { imports = [ (nixos + "/modules/installer/netboot/netboot-base.nix") ]; };
      "netboot-minimal" = works { imports = [ (nixos + "/modules/installer/netboot/netboot-minimal.nix") ]; };
      "netboot" = works { imports = [ (nixos + "/modules/installer/netboot/netboot.nix") ]; };
    }
  );

  kept = group "kept" {
    "an erofs" = builds [ "--format erofs" ] { boot.netstage.format = "erofs"; };
    "an erofs of zstd" = builds [ "--compression zstd:19" ] ({ pkgs, ... }: { boot.netstage = { format = "erofs"; erofs.compression = "zstd:19"; }; boot.kernelPackages = pkgs.linuxPackages_latest; });
    "an erofs of zstd, an old kernel" = refused "takes Linux 6.10" ({ pkgs, ... }: { boot.netstage = { format = "erofs"; erofs.compression = "zstd:19"; }; boot.kernelPackages = pkgs.linuxPackages_6_1; });
    "an erofs beside netboot.nix" = builds [ "nix-store.erofs" ] { imports = [ (nixos + "/modules/installer/netboot/netboot-minimal.nix") ]; boot.netstage.format = "erofs"; };
    "a cache disk and an erofs" = packs [ "--filesystem ext4" ] { boot.netstage = { format = "erofs"; cacheDisk.device = "LABEL=cache"; policy.offlineDays = 30; }; };
    "intel microcode" = packs [ "--prepend" "intel-ucode.img" ] ({ hardware.cpu.intel.updateMicrocode = true; nixpkgs.config.allowUnfree = true; });
    "amd microcode" = packs [ "--prepend" "amd-ucode.img" ] { hardware.cpu.amd.updateMicrocode = true; };
    "an ACPI table" = packs [ "--prepend" ] ({ pkgs, ... }: { boot.initrd.prepend = [ "${pkgs.runCommand "acpi" { } "touch $out"}" ]; });
    "blacklisted modules" = packs [ "/etc/modprobe.d/nixos.conf" ] { boot.blacklistedKernelModules = [ "nouveau" ]; };
    "modprobe options" = packs [ "/etc/modprobe.d/nixos.conf" ] { boot.extraModprobeConfig = "options igb x=1"; };
    "modules that are loaded" = packs [ "+i2c_i801" "/etc/modules-load.d/nixos.conf" ] { boot.initrd.kernelModules = [ "i2c_i801" ]; };
    "modules that are there" = packs [ "?mlx5_core" ] { boot.initrd.availableKernelModules = [ "mlx5_core" ]; };
    "a module by a set" = packs [ "?mlx5_core" ] { boot.initrd.availableKernelModules.mlx5_core = true; };
    "missing modules" = packs [ "?none" ] { boot.initrd.allowMissingModules = true; boot.initrd.kernelModules = [ "none" ]; };
    "firmware" = packs [ "--firmware-file" "x/fw.bin" ] { boot.initrd.extraFirmwarePaths = [ "x/fw.bin" ]; };
    "microcode of both" = packs [ "intel-ucode.img" "amd-ucode.img" ] { hardware.cpu.intel.updateMicrocode = true; hardware.cpu.amd.updateMicrocode = true; nixpkgs.config.allowUnfree = true; };
    "early graphics" = packs [ "+amdgpu" ] { hardware.amdgpu.initrd.enable = true; };
    "all firmware" = packs [ "--firmware" ] { hardware.enableAllFirmware = true; nixpkgs.config.allowUnfree = true; };
    "redistributable firmware" = packs [ "--firmware" ] { hardware.enableRedistributableFirmware = true; };
    "extra files" = packs [ "/etc/motd" ] ({ pkgs, ... }: { boot.initrd.extraFiles."/etc/motd".source = pkgs.writeText "motd" "x"; });
    "a secret" = packs [ "/etc/token" ] { boot.initrd.secrets."/etc/token" = ../package.nix; };
    "key map" = packs [ "loadkeys" "/etc/netstage/keymap" ] { console.keyMap = "de"; };
    "X key map" = works { services.xserver.xkb.layout = "de"; console.useXkbConfig = true; };
    "host id" = packs [ "hostid" ] { networking.hostId = "8425e349"; };
    "host name" = works { networking.hostName = "web1"; };
    "no fsck of journals" = works (lib.recursiveUpdate needed { boot.initrd.checkJournalingFS = false; });
    "network kept" = works { boot.initrd.network.enable = true; boot.initrd.network.flushBeforeStage2 = false; };
    "initrd network" = works { boot.initrd.network.enable = true; };
    "file systems for the initrd" = works { boot.initrd.supportedFilesystems = [ "btrfs" "vfat" ]; };
    "kernel of today" = works ({ pkgs, ... }: { boot.kernelPackages = pkgs.linuxPackages_latest; });
    "extra module packages" = works ({ config, ... }: { boot.extraModulePackages = [ config.boot.kernelPackages.r8125 ]; nixpkgs.config.allowBroken = true; });
    "tmp on tmpfs" = works { boot.tmp.useTmpfs = true; };
    "tmp on zram" = works { boot.tmp.useZram = true; };
    "tmp cleaned" = works { boot.tmp.cleanOnBoot = true; };
    "kernel parameters in quotes" = works { boot.kernelParams = [ "dyndbg=\"file drivers/net/* +p\"" ]; };
    "modules locked" = works { security.lockKernelModules = true; };
    "sysctl" = works { boot.kernel.sysctl."vm.swappiness" = 10; };
    "store options" = works { boot.nixStoreMountOpts = [ "nodev" "nosuid" ]; };
    "the size of /run" = works { boot.runSize = "10%"; boot.devShmSize = "20%"; };
    "resolved" = works { services.resolved.enable = true; };
    "NetworkManager" = works { networking.networkmanager.enable = true; };
    "a bond" = works { networking.bonds.bond0.interfaces = [ "eth0" "eth1" ]; networking.interfaces.bond0.useDHCP = true; };
    "VLANs and a bridge" = works { networking.vlans.v7 = { id = 7; interface = "eth0"; }; networking.bridges.br0.interfaces = [ "v7" ]; };
    "Hyper-V" = packs [ "+hv_netvsc" ] { virtualisation.hypervGuest.enable = true; };
    "VMware" = works { virtualisation.vmware.guest.enable = true; };
    "podman" = works { virtualisation.podman.enable = true; };
    "envfs" = works { services.envfs.enable = true; };
    "TPM" = works { security.tpm2.enable = true; };
    "repart in stage 2" = works { systemd.repart.enable = true; systemd.repart.partitions.data.Type = "linux-generic"; };
    "an older kernel" = works ({ pkgs, ... }: { boot.kernelPackages = pkgs.linuxPackages_5_15; });
    "no default modules" = works { boot.initrd.includeDefaultModules = false; boot.initrd.verbose = false; };
    "thin LVM" = works { services.lvm.boot.thin.enable = true; };
    "extlinux" = works { boot.loader.generic-extlinux-compatible.enable = true; };
    "a boot loader of one's own" = works { boot.loader.external = { enable = true; installHook = "/bin/x"; }; };
    "networkd" = works { networking.useNetworkd = true; networking.useDHCP = true; };
    "ssh server" = works { services.openssh.enable = true; };
    "docker" = works { virtualisation.docker.enable = true; };
    "containers" = works { containers.web = { config = { }; autoStart = true; }; };
    "zram" = works { zramSwap.enable = true; };
    "crypttab" = works { environment.etc.crypttab.text = "data /dev/sda1"; };
    "lvm in stage 2" = works { services.lvm.enable = true; };
    "raid in stage 2" = works { boot.swraid.enable = true; };
    "raid in stage 2, by its old name" = works { boot.initrd.services.swraid.enable = true; };
    "encrypted zfs in stage 2" = works { boot.supportedFilesystems.zfs = true; networking.hostId = "8425e349"; boot.zfs = { extraPools = [ "tank" ]; requestEncryptionCredentials = true; forceImportRoot = false; }; };
    "zfs in stage 2" = works { boot.supportedFilesystems = [ "zfs" ]; networking.hostId = "8425e349"; boot.zfs.extraPools = [ "tank" ]; };
    "systemd-boot" = works { boot.loader.systemd-boot.enable = true; };
    "grub" = works { boot.loader.grub.device = "/dev/sda"; };
  };

  tables = group "file system" {
    "ext4" = mounts [ "/dev/disk/by-label/data /persist ext4" ] needed;
    "not needed for boot" = works (disk "/data" { });
    "a root on a disk" = warns "has its root in memory" (disk "/" { });
    "a tmpfs root of some size" = warns "has its root in memory" { fileSystems."/" = { device = "tmpfs"; fsType = "tmpfs"; options = [ "size=2G" "mode=755" ]; }; };
    "a tmpfs root" = works { fileSystems."/" = { device = "none"; fsType = "tmpfs"; options = [ "defaults" "mode=755" ]; }; };
    "encrypted" = refused "opens no LUKS devices: data" { fileSystems."/data" = { device = "/dev/mapper/data"; fsType = "ext4"; encrypted = { enable = true; label = "data"; blkDev = "/dev/sda1"; keyFile = "/k"; }; }; };
    "swap with a random key" = works { swapDevices = [ { device = "/dev/sda2"; randomEncryption.enable = true; } ]; };
    "nfs, not needed" = works { fileSystems."/srv" = { device = "srv:/x"; fsType = "nfs"; }; };
    "cifs by an address" = mounts [ "//192.0.2.1/x /data cifs" ] { fileSystems."/data" = { device = "//192.0.2.1/x"; fsType = "cifs"; neededForBoot = true; options = [ "username=x" "password=y" ]; }; };
    "cifs" = refused "/data (//srv/x)" (fs "/data" "//srv/x" "cifs");
    "a root on btrfs" = warns "has its root in memory" { fileSystems."/" = { device = "/dev/sda1"; fsType = "btrfs"; options = [ "subvol=root" ]; }; };
    "a boot partition" = works { fileSystems."/boot" = { device = "/dev/disk/by-uuid/1234-ABCD"; fsType = "vfat"; }; };
    "xfs by a tag" = mounts [ "PARTLABEL=var /var xfs" ] (fs "/var" "PARTLABEL=var" "xfs");
    "a label" = mounts [ "/dev/disk/by-label/state /state ext4" ] { fileSystems."/state" = { label = "state"; fsType = "ext4"; neededForBoot = true; }; };
    "tmpfs" = mounts [ "tmpfs /scratch tmpfs" ] (fs "/scratch" "tmpfs" "tmpfs");
    "a bind" = mounts [ "/persist/var/log /var/log none" ] (lib.recursiveUpdate needed { fileSystems."/var/log" = { device = "/persist/var/log"; fsType = "none"; options = [ "bind" ]; }; });
    "an overlay" = mounts [ "lowerdir=/a,upperdir=/b,workdir=/c" ] { fileSystems."/opt" = { overlay = { lowerdir = [ "/a" ]; upperdir = "/b"; workdir = "/c"; }; neededForBoot = true; }; };
    "an overlay, scripted" = mounts [ "lowerdir=/a,upperdir=/b,workdir=/c" ] { boot.initrd.systemd.enable = false; fileSystems."/opt" = { overlay = { lowerdir = [ "/a" ]; upperdir = "/b"; workdir = "/c"; }; neededForBoot = true; }; };
    "9p" = mounts [ "host /host 9p" ] (fs "/host" "host" "9p") // { initrd = [ "9pnet_virtio" "--filesystem 9p" ]; };
    "virtiofs" = mounts [ "host /host virtiofs" ] (fs "/host" "host" "virtiofs");
    "autoResize" = works (lib.recursiveUpdate needed { fileSystems."/persist".autoResize = true; });
    "x-initrd.mount" = mounts [ "/dev/sdb1 /x ext4" ] { fileSystems."/x" = { device = "/dev/sdb1"; fsType = "ext4"; options = [ "x-initrd.mount" ]; }; };
    "swap" = works { swapDevices = [ { device = "/dev/sda2"; } ]; };
    "/nix" = refused "would hide: /nix" (disk "/nix" { });
    "/nix, needed" = refused "would hide: /nix" (disk "/nix" { neededForBoot = true; });
    "/nix/persist" = mounts [ "/nix/persist ext4" ] (disk "/nix/persist" { neededForBoot = true; });
    "/nix/store, forced" = refused "lays out /nix/store itself" ({ lib, ... }: { fileSystems."/nix/store" = lib.mkForce { device = "/dev/sda1"; fsType = "ext4"; }; });
    "/nix/store" = works (disk "/nix/store" { });
    "autoFormat" = refused "autoFormat" (lib.recursiveUpdate needed { fileSystems."/persist".autoFormat = true; });
    "zfs" = refused "assembles no" (lib.recursiveUpdate (fs "/data" "tank/data" "zfs") { networking.hostId = "8425e349"; });
    "zfs as root" = refused "zfs" { fileSystems."/" = { device = "tank/root"; fsType = "zfs"; }; networking.hostId = "8425e349"; };
    "lvm" = refused "/dev/vg0/data" (fs "/data" "/dev/vg0/data" "ext4");
    "mapper" = refused "/dev/mapper/x" (fs "/data" "/dev/mapper/x" "ext4");
    "md" = refused "/dev/md127" (fs "/data" "/dev/md127" "ext4");
    "bcache" = refused "/dev/bcache0" (fs "/data" "/dev/bcache0" "ext4");
    "by path" = refused "by-path" (fs "/data" "/dev/disk/by-path/pci-0" "ext4");
    "nfs" = refused "NFS" (fs "/data" "srv:/x" "nfs");
    "mergerfs" = refused "FUSE" (fs "/data" "/a:/b" "fuse.mergerfs");
    "bcachefs" = refused "/data" (fs "/data" "/dev/sda1" "bcachefs");
    "stratis" = refused "/data" { fileSystems."/data" = { device = "/dev/stratis/p/d"; fsType = "xfs"; neededForBoot = true; stratis.poolUuid = "04c68063-90a5-4235-b9dd-6180098a20d9"; }; };
  };

  named = group "option" (
    mapAttrs (name: config: warns "${name} has no effect" config) {
      "boot.initrd.preLVMCommands" = { boot.initrd.preLVMCommands = "x"; };
      "boot.initrd.preDeviceCommands" = { boot.initrd.preDeviceCommands = "x"; };
      "boot.initrd.postDeviceCommands" = { boot.initrd.postDeviceCommands = "x"; };
      "boot.initrd.postMountCommands" = { boot.initrd.postMountCommands = "x"; };
      "boot.initrd.extraUtilsCommands" = { boot.initrd.extraUtilsCommands = "x"; };
      "boot.initrd.services.udev.rules" = { boot.initrd.services.udev.rules = "x"; };
      "boot.initrd.network.postCommands" = { boot.initrd.network.postCommands = "x"; };
      "boot.initrd.network.ssh.enable" = { boot.initrd.network = { enable = true; ssh = { enable = true; authorizedKeys = [ "ssh-ed25519 A" ]; hostKeys = [ "/k" ]; }; }; };
      "boot.initrd.systemd.network.networks" = { boot.initrd.systemd.network.networks."10-x".matchConfig.Name = "e*"; };
      "boot.initrd.systemd.services" = { boot.initrd.systemd.services.x.script = "true"; };
      "boot.initrd.systemd.contents" = { boot.initrd.systemd.contents."/x".text = "x"; };
      "boot.initrd.systemd.extraBin" = { boot.initrd.systemd.extraBin.x = "/bin/x"; };
      "boot.initrd.systemd.initrdBin" = ({ pkgs, ... }: { boot.initrd.systemd.initrdBin = [ pkgs.hello ]; });
      "boot.initrd.systemd.emergencyAccess" = { boot.initrd.systemd.emergencyAccess = true; };
      "boot.initrd.systemd.tmpfiles.settings" = { boot.initrd.systemd.tmpfiles.settings.x."/run/x".w.argument = "y"; };
      "boot.initrd.systemd.mounts" = { boot.initrd.systemd.mounts = [ { what = "/dev/sdb"; where = "/sysroot/x"; } ]; };
      "boot.initrd.systemd.root" = { boot.initrd.systemd.root = "gpt-auto"; };
      "boot.initrd.compressor" = { boot.initrd.compressor = "xz"; };
      "boot.initrd.stage1Greeting" = { boot.initrd.stage1Greeting = "hi"; };
      "boot.initrd.clevis.enable" = clevis (p: { boot.initrd.clevis = { enable = true; package = p; }; });
      "boot.initrd.clevisLuksAskpass.enable" = clevis (p: { boot.initrd.clevisLuksAskpass = { enable = true; package = p; }; });
      "boot.initrd.network.openvpn.enable" = { boot.initrd.network = { enable = true; openvpn = { enable = true; configuration = ../package.nix; }; }; };
      "boot.initrd.systemd.network.netdevs" = { boot.initrd.systemd.network.netdevs."10-bond".netdevConfig = { Kind = "bond"; Name = "bond0"; }; };
      "boot.initrd.systemd.storePaths" = ({ pkgs, ... }: { boot.initrd.systemd.storePaths = [ "${pkgs.hello}" ]; });
      "boot.initrd.systemd.users" = { boot.initrd.systemd.users.alice.uid = 1000; };
      "boot.initrd.systemd.settings.Manager" = { boot.initrd.systemd.settings.Manager.DefaultTimeoutStartSec = "10s"; };
      "boot.growPartition" = { boot.growPartition = true; };
      "console.earlySetup" = { console.earlySetup = true; };
      "boot.initrd.services.lvm.enable" = { boot.initrd.services.lvm.enable = true; };
      "boot.resumeDevice" = { boot.resumeDevice = "/dev/sda2"; };
      "boot.plymouth.enable" = { boot.plymouth.enable = true; };
      "boot.crashDump.enable" = { boot.crashDump.enable = true; };
      "services.multipath.enable" = { services.multipath = { enable = true; pathGroups = [ ]; }; };
    }
    // mapAttrs (name: config: refused name config) {
      "boot.initrd.luks.devices" = { boot.initrd.luks.devices.root.device = "/dev/sda1"; } ;
      "boot.initrd.systemd.repart.enable" = { boot.initrd.systemd.repart.enable = true; };
      "boot.iscsi-initiator.discoverPortal" = { boot.iscsi-initiator = { discoverPortal = "192.0.2.1"; target = "iqn.x"; name = "iqn.y"; }; };
      "boot.initrd.enable" = { boot.initrd.enable = true; };
      "boot.initrd.secrets" = { boot.initrd.secrets."/etc/x" = "/etc/secret"; };
    }
    // { "boot.kernel.enable" = refused "leave boot.kernel.enable at true" { boot.kernel.enable = false; }; }
    // { "boot.initrd.luks.devices" = refused "opens no LUKS devices: root" { boot.initrd.luks.devices.root.device = "/dev/sda1"; }; }
  );

  elsewhere = group "elsewhere" {
    "qemu-vm.nix" = off { imports = [ (nixos + "/modules/virtualisation/qemu-vm.nix") ]; };
    "iso-image.nix" = off { imports = [ (nixos + "/modules/installer/cd-dvd/iso-image.nix") ]; };
    "sd-image.nix" = off { imports = [ (nixos + "/modules/installer/sd-card/sd-image.nix") ]; fileSystems."/boot" = { device = "/dev/x"; fsType = "vfat"; }; boot.loader.grub.enable = false; boot.loader.generic-extlinux-compatible.enable = true; sdImage.populateFirmwareCommands = ""; sdImage.populateRootCommands = ""; };
    "a container" = off { boot.isContainer = true; };
    "disk-image.nix" = off { imports = [ (nixos + "/modules/virtualisation/disk-image.nix") ]; };
    "google-compute-image.nix" = off { imports = [ (nixos + "/modules/virtualisation/google-compute-image.nix") ]; };
    "nixos-generators" = off ({ lib, ... }: { options.formatAttr = lib.mkOption { default = "qcow"; }; config = { boot.growPartition = true; boot.loader.grub.device = "/dev/vda"; fileSystems."/" = { device = "/dev/disk/by-label/nixos"; fsType = "ext4"; autoResize = true; }; }; });
    "the node of a test" = works { } // { also = _: [ ((import nixpkgs { inherit system; }).testers.runNixOSTest { name = "x"; nodes.machine = { imports = [ ../module.nix ]; boot.netstage.enable = true; }; testScript = ""; }).drvPath ]; };
    "build-vm" = works { } // { also = config: [ (lib.throwIf config.virtualisation.vmVariant.boot.netstage.active "netstage is on in build-vm" config.system.build.vm.drvPath) ]; };
    "build-image, netstage" = image "netstage";
    "build-image, raw" = image "raw";
    "build-image, iso" = image "iso";
    "build-image, kexec" = image "kexec";
  };

  impermanence = third + "/impermanence/nixos.nix";
  preservation = third + "/preservation/module.nix";
  disko = third + "/disko/module.nix";
  hardware = third + "/nixos-hardware";
  others = group "third party" (lib.optionalAttrs (third != null) (
    {
      "impermanence" = mounts [ "/persist/var/log /var/log none" "/persist/var/lib /var/lib none" ] (lib.recursiveUpdate needed { imports = [ impermanence ]; environment.persistence."/persist" = { directories = [ "/var/log" "/var/lib" "/srv" ]; files = [ "/etc/machine-id" ]; }; });
      "impermanence, scripted" = warns "boot.initrd.postMountCommands" (lib.recursiveUpdate needed { imports = [ impermanence ]; boot.initrd.systemd.enable = false; environment.persistence."/persist".directories = [ "/var/log" ]; });
      "impermanence below /nix" = mounts [ "/nix/persist ext4" ] (lib.recursiveUpdate (disk "/nix/persist" { neededForBoot = true; }) { imports = [ impermanence ]; environment.persistence."/nix/persist".directories = [ "/var/log" ]; });
      "impermanence with /nix on a disk" = refused "would hide: /nix" (lib.recursiveUpdate (disk "/nix" { neededForBoot = true; }) { imports = [ impermanence ]; environment.persistence."/nix/persist".directories = [ "/srv" ]; });
      "preservation" = mounts [ "/persist/etc/machine-id /etc/machine-id none" "x-netstage.file" ] (lib.recursiveUpdate needed { imports = [ preservation ]; preservation = { enable = true; preserveAt."/persist" = { directories = [ "/var/lib/nixos" ]; files = [ { file = "/etc/machine-id"; inInitrd = true; } ]; }; }; });
      "preservation, a folder" = mounts [ "/persist/var/lib/nixos /var/lib/nixos none" ] (lib.recursiveUpdate needed { imports = [ preservation ]; preservation = { enable = true; preserveAt."/persist".directories = [ { directory = "/var/lib/nixos"; inInitrd = true; } ]; }; });
      "disko, a data disk" = works { imports = [ disko ]; disko.devices.disk.data = { device = "/dev/sda"; type = "disk"; content = { type = "gpt"; partitions.data = { size = "100%"; content = { type = "filesystem"; format = "ext4"; mountpoint = "/data"; }; }; }; }; };
      "disko, /nix" = refused "would hide: /nix" { imports = [ disko ]; disko.devices.disk.data = { device = "/dev/sda"; type = "disk"; content = { type = "gpt"; partitions.nix = { size = "100%"; content = { type = "filesystem"; format = "ext4"; mountpoint = "/nix"; }; }; }; }; };
      "disko, luks" = refused "opens no LUKS" { imports = [ disko ]; disko.devices.disk.data = { device = "/dev/sda"; type = "disk"; content = { type = "gpt"; partitions.data = { size = "100%"; content = { type = "luks"; name = "data"; content = { type = "filesystem"; format = "ext4"; mountpoint = "/data"; }; }; }; }; }; };
      "disko, tmpfs root" = warns "has its root in memory" { imports = [ disko ]; disko.devices.nodev."/" = { fsType = "tmpfs"; mountOptions = [ "size=2G" ]; }; };
      "sops-nix" = works { imports = [ (third + "/sops-nix/modules/sops") ]; };
      "agenix" = works { imports = [ (third + "/agenix/modules/age.nix") ]; };
      "agenix, a secret" = works { imports = [ (third + "/agenix/modules/age.nix") ]; age.secrets.x.file = ../package.nix; age.identityPaths = [ "/etc/ssh/ssh_host_ed25519_key" ]; };
      "nixos-images, remote access" = works { imports = [ (third + "/nixos-images/nix/restore-remote-access.nix") ]; };
      "nixos-images, networkd" = works { imports = [ (third + "/nixos-images/nix/networkd.nix") ]; };
      "nixos-images, noninteractive" = works { imports = [ (third + "/nixos-images/nix/noninteractive.nix") ]; };
      "lanzaboote" = works ({ pkgs, lib, ... }: { imports = [ (third + "/lanzaboote/nix/modules/lanzaboote.nix") ]; boot.loader.systemd-boot.enable = lib.mkForce false; boot.lanzaboote = { enable = true; pkiBundle = "/var/lib/sbctl"; package = pkgs.hello; }; });
      "srvos, server" = works { imports = [ (third + "/srvos/nixos/server") ]; users.allowNoPasswordLogin = true; };
      "srvos, hetzner" = warns "has its root in memory" { imports = [ (third + "/srvos/nixos/hardware/hetzner-cloud") ]; };
      "microvm, a host" = works { imports = [ (third + "/microvm.nix/nixos-modules/host") ]; };
    }
    // mapAttrs (_: file: works { imports = [ (hardware + "/${file}") ]; nixpkgs.config.allowUnfree = true; }) {
      "nixos-hardware, Intel" = "common/cpu/intel";
      "nixos-hardware, AMD" = "common/cpu/amd";
      "nixos-hardware, AMD GPU" = "common/gpu/amd";
      "nixos-hardware, SSD" = "common/pc/ssd";
      "nixos-hardware, ThinkPad" = "lenovo/thinkpad/x1";
      "nixos-hardware, PC Engines" = "pcengines/apu";
      "nixos-hardware, Supermicro" = "supermicro";
      "nixos-hardware, laptop" = "common/pc/laptop";
      "nixos-hardware, Dell" = "dell/poweredge/r7515";
    }
  ));
in
toplevels // profiles // kept // tables // named // elsewhere // others
