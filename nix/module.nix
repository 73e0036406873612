# NixOS module: boots a configuration over the network by netstage.
#
#   imports = [ netstage.nixosModules.default ];   # or: ./netstage/nix/module.nix
#   boot.netstage.enable = true;
#
# What to serve is then config.system.build.netstageTree. docs/nixos.md tells more.
{ config, options, lib, pkgs, utils, ... }:

let
  inherit (lib) mkDefault mkIf mkImageMediaOverride optional;
  cfg = config.boot.netstage;
  artefacts = import ./artefacts.nix { inherit config lib pkgs needed; };

  # What the agent mounts itself, as nixpkgs' netboot.nix lays it out.
  layout = [ "/" "/nix/.ro-store" "/nix/.rw-store" "/nix/store" ];
  # And what else has to be there before stage 2, which the initrd lists for it.
  needed = import ./filesystems.nix {
    inherit lib pkgs;
    fileSystems = lib.filter (fs: utils.fsNeededForBoot fs && !lib.elem fs.mountPoint layout) (
      config.system.build.fileSystems or (lib.attrValues config.fileSystems)
    );
  };

  # What the configuration says of "/" before the layout replaces it.
  roots = lib.filter (x: x != null) (
    map (d: (d."/" or { }).fsType or null) (options.fileSystems.definitions or [ ])
  );

  names = list: lib.concatStringsSep ", " list;
  mounts = list: names (map (fs: "${fs.mountPoint} (${fs.device})") list);
in
{
  imports = [ ./options.nix ];

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = !config.boot.initrd.enable;
        message = "boot.netstage replaces the initrd of NixOS: leave boot.initrd.enable at false.";
      }
      {
        assertion = !config.boot.initrd.systemd.enable;
        message = "boot.netstage is no systemd: set boot.initrd.systemd.enable = false. Units of boot.initrd.systemd would not be started; docs/nixos.md says what replaces them.";
      }
      {
        assertion = !(config.system.nixos-init.enable or false);
        message = "boot.netstage needs a stage 2 that activates the system: set system.nixos-init.enable = false.";
      }
      {
        assertion = config.boot.initrd.luks.devices == { };
        message = "boot.netstage opens no LUKS devices: ${names (lib.attrNames config.boot.initrd.luks.devices)}. The root is an image in memory; unlock other disks in stage 2, by environment.etc.crypttab.";
      }
      {
        assertion = !(lib.elem "zfs" roots);
        message = "boot.netstage imports no ZFS pools: the root is an image in memory; remove the zfs \"/\".";
      }
      {
        assertion = needed.unsupported == [ ];
        message = "boot.netstage assembles no LVM, RAID, LUKS or ZFS, mounts no NFS, and finds disks by LABEL, UUID, PARTLABEL, PARTUUID or node, or by-id where that is wwn-, nvme- or virtio-; mount in stage 2 (neededForBoot = false, and not below /etc, /usr or /var, which NixOS needs earlier): ${mounts needed.unsupported}.";
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
        assertion = !(cfg.pin && cfg.trustedKeys != [ ]);
        message = "boot.netstage.pin fixes one image, trustedKeys whatever is signed: with both, a newly signed image would not boot. Set one.";
      }
    ];

    # The initrd is then no part of the toplevel, and may name it (nixpkgs#228810).
    boot.initrd.enable = mkDefault false;
    boot.initrd.systemd.enable = mkDefault false;
    boot.loader.grub.enable = mkImageMediaOverride false;

    # As netboot.nix has them: systemd finds these mounts in /etc/fstab, and in place.
    fileSystems."/" = mkImageMediaOverride {
      device = "tmpfs";
      fsType = "tmpfs";
      options = [ "mode=0755" ];
    };
    fileSystems."/nix/.ro-store" = mkImageMediaOverride {
      device = "../nix-store.squashfs";
      fsType = "squashfs";
      options = [
        "loop"
      ] ++ optional (lib.versionAtLeast config.boot.kernelPackages.kernel.version "6.2") "threads=multi";
      neededForBoot = true;
    };
    fileSystems."/nix/.rw-store" = mkImageMediaOverride {
      device = "tmpfs";
      fsType = "tmpfs";
      options = [ "mode=0755" ];
      neededForBoot = true;
    };
    fileSystems."/nix/store" = mkImageMediaOverride {
      device = "overlay";
      fsType = "overlay";
      options = [
        "lowerdir=/nix/.ro-store"
        "upperdir=/nix/.rw-store/store"
        "workdir=/nix/.rw-store/work"
      ];
      depends = [
        "/nix/.ro-store"
        "/nix/.rw-store/store"
        "/nix/.rw-store/work"
      ];
    };

    # Before anything asks Nix: the image's paths become valid in the new
    # database, and the running system a profile, which nixos-rebuild wants.
    systemd.services.netstage-register-paths = mkIf config.nix.enable {
      description = "Register the store paths of the netstage image";
      unitConfig = {
        DefaultDependencies = false;
        ConditionPathExists = "/nix/store/nix-path-registration";
      };
      wantedBy = [ "sysinit.target" ];
      before = [
        "sysinit.target"
        "shutdown.target"
        "nix-daemon.socket"
        "nix-daemon.service"
      ];
      after = [ "local-fs.target" ];
      conflicts = [ "shutdown.target" ];
      restartIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        ${config.nix.package}/bin/nix-store --load-db </nix/store/nix-path-registration
        touch /etc/NIXOS
        ${config.nix.package}/bin/nix-env -p /nix/var/nix/profiles/system --set /run/current-system
      '';
    };

    # systemd-analyze tells the initrd's time where systemd is given what the
    # agent left for it; a script as init passes no arguments on by itself.
    boot.systemdExecutable = mkDefault "${pkgs.writeShellScript "netstage-start-systemd" ''
      if [ -r /run/netstage/systemd-state ]; then
        exec 9</run/netstage/systemd-state
        set -- --switched-root --system --deserialize=9
      fi
      exec /run/current-system/systemd/lib/systemd/systemd "$@"
    ''}";

    systemd.services.netstage-report = {
      description = "Log how netstage booted this machine";
      unitConfig.ConditionPathExists = "/run/netstage/boot.json";
      wantedBy = [ "multi-user.target" ];
      restartIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        SyslogIdentifier = "netstage";
        ExecStart = "${pkgs.coreutils}/bin/cat /run/netstage/boot.json";
      };
    };

    system.build = artefacts;
  };
}
