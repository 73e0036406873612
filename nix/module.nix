# NixOS module: boots a configuration over the network by netstage.
#
#   imports = [ netstage.nixosModules.default ];   # or: ./netstage/nix/module.nix
#   boot.netstage.enable = true;
#
# What to serve is then config.system.build.netstageTree. docs/nixos.md tells more.
{ config, options, lib, pkgs, utils, modulesPath, ... }:

let
  inherit (lib) mkDefault mkIf mkImageMediaOverride mkMerge;
  cfg = config.boot.netstage;
  initrd = import ./initrd.nix { inherit lib options; };

  # What the agent mounts itself; layout.nix has it.
  layout = [ "/" "/nix/.ro-store" "/nix/.rw-store" "/nix/store" ];
  mounts = import ./mounts.nix {
    inherit lib;
    mounts = initrd.systemd.mounts;
    tmpfiles = initrd.systemd.tmpfiles.settings;
  };
  inInitrd = fs: utils.fsNeededForBoot fs || lib.elem "x-initrd.mount" fs.options;
  # And what else has to be there before stage 2, which the initrd lists for it.
  needed = import ./filesystems.nix {
    inherit lib pkgs;
    inherit (initrd) checkJournalingFS;
    fileSystems =
      lib.filter (fs: (fs.enable or true) && inInitrd fs && !lib.elem fs.mountPoint layout) (
        config.system.build.fileSystems or (lib.attrValues config.fileSystems)
      )
      ++ mounts.fileSystems;
  };
  # Its clusters of 64 KiB, and its zstd.
  erofsSince = if lib.hasPrefix "zstd" cfg.erofs.compression then "6.10" else "5.13";
  artefacts = import ./artefacts.nix { inherit config lib pkgs initrd needed secrets; };
  stage1 = import ./stage1-options.nix {
    inherit lib options modulesPath;
    inherit (mounts) bindInRoot notMade;
  };
  # Those of nixpkgs' modules are keys for what has no effect here: its ssh and
  # its VPN in the initrd.
  secrets = lib.filterAttrs (
    place: _: lib.any (d: stage1.foreign d && d.value ? ${place}) (options.boot.initrd.secrets.definitionsWithLocations or [ ])
  ) initrd.secrets;

  # What the configuration says of "/" before the layout replaces it.
  roots = map (d: { inherit (d) file; root = plain d.value."/"; }) (
    lib.filter (d: d.value ? "/") options.fileSystems.definitionsWithLocations
  );
  plain =
    v:
    if v._type or "" == "override" then
      plain v.content
    else if v._type or "" == "if" then
      lib.optionalAttrs v.condition (plain v.content)
    else
      v;
  replaced = lib.filter (
    d:
    stage1.foreign d
    && (
      !(lib.elem (d.root.fsType or "tmpfs") [ "tmpfs" "auto" ])
      || lib.any (o: !(lib.hasPrefix "x-" o || lib.hasPrefix "mode=" o || o == "defaults")) (d.root.options or [ ])
    )
  ) roots;

  # One kernel comes with an image, whatever its specialisations have.
  otherKernels = lib.attrNames (
    lib.filterAttrs (_: s: toString s.configuration.system.build.kernel != toString config.system.build.kernel) (
      config.specialisation or { }
    )
  );

  names = list: lib.concatStringsSep ", " list;
  says = list: names (map (fs: "${fs.mountPoint} (${toString fs.device})") list);
  luks = lib.attrNames initrd.luks.devices;
in
{
  imports = [
    ./options.nix
    ./fit.nix
    ./layout.nix
    ./stage2.nix
  ];

  config = mkIf cfg.active {
    warnings =
      stage1.warnings
      ++ map (
        d: "boot.netstage has its root in memory, half of which it may fill: what fileSystems.\"/\" says has no effect. It is defined in ${toString d.file}. Mount disks elsewhere, at /persist say."
      ) replaced
      ++ lib.optional (otherKernels != [ ]) "boot.netstage starts a specialisation with the kernel of the image: ${names otherKernels} would have another one. Serve its own tree: config.specialisation.NAME.configuration.system.build.netstageTree.";
    assertions =
      map (message: {
        assertion = false;
        inherit message;
      }) stage1.refusals
      ++ [
        {
          assertion = !config.boot.initrd.enable;
          message = "boot.netstage replaces the initrd of NixOS: leave boot.initrd.enable at false.";
        }
        {
          assertion = config.boot.kernel.enable or true;
          message = "boot.netstage boots a kernel: leave boot.kernel.enable at true.";
        }
        {
          assertion = luks == [ ];
          message = "boot.netstage opens no LUKS devices: ${names luks}. The root is an image in memory; unlock other disks in stage 2, by environment.etc.crypttab.";
        }
        {
          assertion = !(lib.any (d: d.root.fsType or "" == "zfs") roots);
          message = "boot.netstage imports no ZFS pools: the root is an image in memory; remove the zfs \"/\".";
        }
        {
          assertion = needed.unsupported == [ ];
          message = "boot.netstage assembles no LVM, RAID, bcache, LUKS or ZFS, runs no program that mounts (FUSE, NFS, CIFS by a name or with credentials=), and finds disks by LABEL, UUID, PARTLABEL, PARTUUID or node, or by-id where that is wwn-, nvme- or virtio-; mount in stage 2 (neededForBoot = false, and not below /etc, /usr or /var, which NixOS needs earlier): ${says needed.unsupported}.";
        }
        {
          assertion = needed.hiding == [ ];
          message = "boot.netstage has its image at /nix/store, which a file system above or below it would hide: ${says needed.hiding}. Mount the disk elsewhere, at /persist say, and what is needed of it by bind mounts, as at /nix/var.";
        }
        {
          assertion = needed.formatted == [ ];
          message = "boot.netstage makes no file systems in stage 1 (autoFormat): ${says needed.formatted}. Make them beforehand, or mount them in stage 2 (neededForBoot = false), where systemd-makefs does.";
        }
        {
          assertion = cfg.allNetworkDrivers || cfg.modules != [ ];
          message = "boot.netstage.allNetworkDrivers = false needs the machine's network driver in boot.netstage.modules.";
        }
        {
          assertion = cfg.policy.shell != "password" || cfg.shellPasswordHash != null;
          message = "boot.netstage.policy.shell = \"password\" needs boot.netstage.shellPasswordHash.";
        }
        {
          assertion = !(cfg.policy.shell == "never" && cfg.ssh.authorizedKeys != [ ]);
          message = "boot.netstage.policy.shell = \"never\" forbids boot.netstage.ssh, too: remove its authorizedKeys.";
        }
        {
          assertion = artefacts.vague == [ ];
          message = "boot.netstage.policy.cmdline takes parameters, with a value or without, and beginnings of names with a * at the end: ${names artefacts.vague} is none of it.";
        }
        {
          assertion = !(cfg.pin && cfg.trustedKeys != [ ]);
          message = "boot.netstage.pin fixes one image, trustedKeys whatever is signed: with both, a newly signed image would not boot. Set one.";
        }
        {
          assertion = cfg.trustedKeys != [ ] || (cfg.manifestName == null && cfg.manifestKeys == [ ] && cfg.policy.signatures == 1);
          message = "boot.netstage.manifestName, manifestKeys and policy.signatures are of signed manifests: set boot.netstage.trustedKeys.";
        }
        {
          assertion = cfg.trustedKeys == [ ] || cfg.manifestKeys != [ ] || cfg.policy.signatures <= lib.length cfg.trustedKeys;
          message = "boot.netstage.policy.signatures wants more keys to sign than boot.netstage.trustedKeys has.";
        }
        {
          assertion = !cfg.stream.enable || cfg.pin || cfg.trustedKeys != [ ];
          message = "boot.netstage.stream needs something that vouches for every block: set boot.netstage.pin or boot.netstage.trustedKeys.";
        }
        {
          assertion = cfg.cacheDisk.device == null || cfg.pin || cfg.trustedKeys != [ ];
          message = "boot.netstage.cacheDisk needs something that vouches for every block: set boot.netstage.pin or boot.netstage.trustedKeys.";
        }
        {
          assertion = cfg.policy.offlineDays == null || cfg.cacheDisk.device != null;
          message = "boot.netstage.policy.offlineDays is of images on boot.netstage.cacheDisk.device: set it.";
        }
        {
          assertion = cfg.format != "erofs" || lib.versionAtLeast config.boot.kernelPackages.kernel.version erofsSince;
          message = "boot.netstage.format = \"erofs\" with erofs.compression = \"${cfg.erofs.compression}\" takes Linux ${erofsSince}, and the kernel is ${config.boot.kernelPackages.kernel.version}. Take a later one, or format = \"squashfs\".";
        }
        {
          assertion = artefacts.secretsOutside == [ ];
          message = "boot.netstage packs boot.initrd.secrets, ssh.hostKey and registryCredentials where the system is built, as NixOS does without a boot loader: paths without quotes, or of the store. ${names artefacts.secretsOutside} can only go into a second archive, as /.initrd-secrets (docs/nixos.md).";
        }
      ];

    # The initrd is then no part of the toplevel, and may name it (nixpkgs#228810).
    boot.initrd.enable = mkDefault false;
    boot.loader.grub.enable = mkImageMediaOverride false;

    # There is no disk behind "/", and the unit would fail.
    systemd.services.growpart = mkIf (config.boot.growPartition or false) { enable = false; };

    # Nothing of stage 2 takes the NIC away while the image still comes by it.
    systemd.services.netstage-image = mkIf (cfg.stream.enable && !cfg.stream.early) {
      description = "Wait for the whole image";
      unitConfig = {
        DefaultDependencies = false;
        ConditionPathExists = "/run/netstage/stream.json";
      };
      wantedBy = [ "sysinit.target" ];
      wants = [ "network-pre.target" ];
      before = [ "network-pre.target" "shutdown.target" ];
      conflicts = [ "shutdown.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        NotifyAccess = "all";
        TimeoutStartSec = "infinity";
      };
      script = ''
        while grep -q streaming /run/netstage/stream.json; do
          systemd-notify --status="$(cat /run/netstage/stream.txt)"
          sleep 1
        done
      '';
    };

    # A system that came up is one to come back to.
    systemd.services.netstage-keep = mkIf (cfg.cacheDisk.device != null) {
      description = "Keep the image of this boot for later ones";
      unitConfig.ConditionPathExists = "/run/netstage/keep.json";
      after = [ "multi-user.target" "netstage-image.service" ];
      wantedBy = [ "multi-user.target" ];
      path = [ pkgs.util-linux ];
      serviceConfig = {
        Type = "exec";
        ExecStart = "${cfg.package}/bin/netstage keep";
        # What it mounts goes with it, and no disk that hangs holds a shutdown up.
        PrivateMounts = true;
        TimeoutStopSec = 10;
        Nice = 19;
        IOSchedulingClass = "idle";
      };
    };

    system.build = mkMerge [
      artefacts.build
      # The secrets are in the initrd; what boot.json names has nothing to add.
      (mkIf (initrd.secrets != { }) {
        initialRamdiskSecretAppender = mkDefault (pkgs.writeShellScriptBin "append-initrd-secrets" "exit 0");
      })
    ];
  };
}
