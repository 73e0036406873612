# The file systems that the agent mounts itself, as nixpkgs' netboot.nix lays
# them out: systemd finds them in /etc/fstab, and in place.
{ config, lib, options, ... }:

let
  inherit (lib) mkIf mkImageMediaOverride optional;
  cfg = config.boot.netstage;

  overlay = [
    "lowerdir=/nix/.ro-store"
    "upperdir=/nix/.rw-store/store"
    "workdir=/nix/.rw-store/work"
  ];
  layout = {
    "/" = "tmpfs mode=0755";
    "/nix/.ro-store" = "${cfg.format} loop";
    "/nix/.rw-store" = "tmpfs mode=0755";
    "/nix/store" = "overlay ${toString overlay}";
  };

  # What is mounted, without what is for systemd and what makes reading faster.
  # systemd stage 1 has nixpkgs write options for its own root, /sysroot.
  said =
    fs:
    toString (
      [ fs.fsType ]
      ++ lib.unique (
        map (builtins.replaceStrings [ "=/sysroot/" ] [ "=/" ]) (
          lib.filter (o: !(lib.hasPrefix "x-" o) && o != "defaults" && o != "threads=multi") fs.options
        )
      )
    );
  roStore = {
    device = "../nix-store.${cfg.format}";
    fsType = cfg.format;
    options = [
      "loop"
    ] ++ optional (cfg.format == "squashfs" && lib.versionAtLeast config.boot.kernelPackages.kernel.version "6.2") "threads=multi";
    neededForBoot = true;
  };
  changed = lib.filter (place: said config.fileSystems.${place} != layout.${place}) (lib.attrNames layout);
in
{
  config = mkIf cfg.active {
    assertions = [
      {
        assertion = changed == [ ];
        message = "boot.netstage lays out ${lib.concatStringsSep ", " changed} itself, and something overrides it (mkForce?): ${
          lib.concatMapStringsSep "; " (p: "${p} is ${said config.fileSystems.${p}}") changed
        }. Mount at other places.";
      }
    ];

    # netboot.nix has them already, of its own format.
    fileSystems = lib.optionalAttrs (options ? netboot) {
      "/nix/.ro-store" = mkIf (cfg.format != "squashfs") (lib.mkOverride 59 roStore);
    }
    // lib.optionalAttrs (!(options ? netboot)) {
      "/" = mkImageMediaOverride {
        device = "tmpfs";
        fsType = "tmpfs";
        options = [ "mode=0755" ];
      };
      "/nix/.ro-store" = mkImageMediaOverride roStore;
      "/nix/.rw-store" = mkImageMediaOverride {
        device = "tmpfs";
        fsType = "tmpfs";
        options = [ "mode=0755" ];
        neededForBoot = true;
      };
      "/nix/store" = mkImageMediaOverride {
        device = "overlay";
        fsType = "overlay";
        options = overlay;
        depends = [
          "/nix/.ro-store"
          "/nix/.rw-store/store"
          "/nix/.rw-store/work"
        ];
      };
    };
  };
}
