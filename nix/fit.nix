# Where netstage is off although it is enabled, because something else boots the
# same configuration: virtual machines of build-vm and of tests, and images of
# other formats; and its own format among those.
{ config, lib, options, ... }:

let
  inherit (lib) mkOption mkOverride types;
  cfg = config.boot.netstage;

  # Modules that bring a way to boot of their own, by an option of theirs.
  others =
    lib.optional (options ? virtualisation.directBoot) "a virtual machine (qemu-vm.nix)"
    ++ lib.optional (options ? isoImage) "an ISO image (iso-image.nix)"
    ++ lib.optional (options ? sdImage) "an SD card (sd-image.nix)"
    ++ lib.optional (options ? microvm.hypervisor && config.microvm.guest.enable or true) "a microvm guest"
    ++ lib.optional (config.boot.isContainer or false) "a container"
    ++ lib.optional (options ? formatAttr) "an image of nixos-generators"
    ++ lib.optional otherImage "an image of another format (image.baseName)";

  # All formats have the options of image/file-options.nix, netboot.nix as well.
  otherImage = options ? image.baseName && !(options ? netboot) && !(options.boot.netstage ? variant);

  outputs = [
    "netstageImage"
    "netstageRamdisk"
    "netstageAllInOneRamdisk"
    "netstageTree"
    "netstageIpxeScript"
    "netstageVm"
  ];
in
{
  options.boot.netstage.active = mkOption {
    type = types.bool;
    readOnly = true;
    internal = true;
    default = cfg.enable && others == [ ];
    description = "Whether it is netstage that boots this configuration, and no virtual machine or image.";
  };

  options.boot.netstage.systemdToplevel = mkOption {
    type = types.bool;
    readOnly = true;
    internal = true;
    default = (import ./initrd.nix { inherit lib options; }).systemd.enable;
    description = "Whether the toplevel is that of systemd stage 1.";
  };

  # Variants of nixos-rebuild build-image, which all start as this configuration.
  options.image.modules = mkOption {
    type = types.attrsOf (
      types.deferredModuleWith {
        staticModules = [ { boot.netstage.enable = mkOverride 60 false; } ];
      }
    );
  };

  config = lib.mkMerge [
    {
      image.modules.netstage =
        { config, modulesPath, ... }:
        {
          imports = [ "${modulesPath}/image/file-options.nix" ];
          options.boot.netstage.variant = mkOption {
            type = types.bool;
            readOnly = true;
            internal = true;
            default = true;
            description = "Whether this is the variant of build-image that netstage boots.";
          };
          config = {
            boot.netstage.enable = mkOverride 55 true;
            system.build.image = config.system.build.netstageTree;
            image.filePath = "boot.ipxe";
          };
        };
    }
    (lib.mkIf (cfg.enable && !cfg.active) {
      system.build = lib.genAttrs outputs (
        name: throw "boot.netstage is off here, config.system.build.${name} is not made: this configuration is that of ${lib.concatStringsSep ", " others}"
      );
    })
  ];
}
