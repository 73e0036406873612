# The options of NixOS that module.nix reads or sets, for nixpkgs' lib.evalModules.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  anything = mkOption { type = types.anything; };
  unset = default: mkOption { inherit default; type = types.anything; };
  bool = default: mkOption { inherit default; type = types.bool; };
  fileSystem = { name, ... }: {
    options = {
      mountPoint = mkOption { type = types.str; default = name; };
      device = mkOption { type = types.nullOr types.str; default = null; };
      label = mkOption { type = types.nullOr types.str; default = null; };
      fsType = mkOption { type = types.str; default = "auto"; };
      options = mkOption { type = types.listOf types.str; default = [ "defaults" ]; };
      depends = mkOption { type = types.listOf types.str; default = [ ]; };
      neededForBoot = bool false;
      noCheck = bool false;
    };
  };
in
{
  options = {
    assertions = mkOption { type = types.listOf types.anything; default = [ ]; };
    boot.initrd = {
      enable = bool true;
      systemd.enable = bool true; # as since NixOS 26.05
      luks.devices = unset { };
      availableKernelModules = mkOption { type = types.listOf types.str; default = [ ]; };
      kernelModules = mkOption { type = types.listOf types.str; default = [ ]; };
    };
    boot.kernelPackages = anything;
    boot.kernelParams = mkOption { type = types.listOf types.str; default = [ ]; };
    boot.loader.grub.enable = bool true;
    boot.systemdExecutable = mkOption { type = types.str; default = "/run/current-system/systemd/lib/systemd/systemd"; };
    fileSystems = mkOption { type = types.attrsOf (types.submodule fileSystem); default = { }; };
    hardware.firmware = unset null;
    nix.enable = bool true;
    nix.package = anything;
    system.nixos-init.enable = bool false;
    system.boot.loader.kernelFile = anything;
    system.modulesTree = anything;
    system.build = mkOption { type = types.lazyAttrsOf types.unspecified; default = { }; };
    systemd.services = mkOption { type = types.lazyAttrsOf types.unspecified; default = { }; };
  };
}
