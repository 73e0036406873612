# Evaluates module.nix without nixpkgs: by nixpkgs' lib where nixpkgsLib names it,
# else by the small stand-in of stub-lib.nix. The result is plain data: failed
# assertions, warnings, what is set, and the scripts of the derivations.
{
  nixpkgsLib ? null,
  settings ? { }, # a configuration
  modules ? [ ], # and more of them, as files
  # Real files, for running the scripts:
  package ? "/package", # with bin/stage1 and bin/netstage
  closure ? "/closure", # as closureInfo writes it
  toplevel ? "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-stub",
  kernel ? "/kernel", # with kernelFile
  kernelFile ? "bzImage",
  modulesTree ? "/modules",
  modDirVersion ? "6.12.30",
  work ? "/outputs", # where the derivations' outputs are
  e2fsprogs ? "/e2fsprogs", # with bin/e2fsck
  store ? "", # the folder whose nix/store is written to
  system ? "x86_64-linux",
  gone ? [ ], # options of boot.initrd that this nixpkgs does not have
  removed ? [ ], # and those that it has to say so
}:

let
  lib = if nixpkgsLib == null then import ./stub-lib.nix else import nixpkgsLib;
  pkgs = import ./stub-pkgs.nix {
    inherit lib package closure toplevel work e2fsprogs store system;
  };

  # As nixos/lib/utils.nix has it.
  utils.fsNeededForBoot =
    fs:
    fs.neededForBoot or false
    || builtins.elem fs.mountPoint [ "/" "/nix" "/nix/store" "/var" "/var/log" "/var/lib" "/var/lib/nixos" "/etc" "/usr" ];

  nixos = {
    boot.kernelPackages.kernel = {
      version = modDirVersion;
      inherit modDirVersion;
    };
    boot.kernelParams = [ "loglevel=4" ];
    environment.etc."modprobe.d/nixos.conf".source = "${work}/modprobe-nixos";
    nix.package = "/nix-package";
    system.boot.loader.kernelFile = kernelFile;
    system.modulesTree = modulesTree;
    system.build = {
      inherit kernel toplevel;
      bootStage2 = "/stage-2-init";
    };
  };

  # What nixpkgs declares, today or when scripted stage 1 is gone.
  of =
    { config, lib, ... }@args:
    let
      stub = import ./stub-options.nix (args // { scripted = gone ++ removed == [ ]; });
      without =
        prefix: names:
        builtins.mapAttrs (
          name: o:
          if builtins.elem "${prefix}${name}" removed then
            lib.mkOption { visible = false; apply = _: throw "The option `boot.initrd.${prefix}${name}' can no longer be used"; }
          else if o._type or "" == "option" then
            o
          else
            without "${prefix}${name}." o
        ) (removeAttrs names (builtins.filter (n: builtins.elem "${prefix}${n}" gone) (builtins.attrNames names)));
    in
    stub
    // {
      options = stub.options // {
        boot = stub.options.boot // {
          initrd = without "" stub.options.boot.initrd;
        };
      };
    };

  evaluated = lib.evalModules {
    specialArgs = {
      inherit pkgs utils;
      modulesPath = "/nixpkgs/nixos/modules";
    };
    modules = [ ../module.nix of nixos settings ] ++ modules;
  };
  inherit (evaluated) config;

  outputs = [
    "netstageImage"
    "netstageRamdisk"
    "netstageAllInOneRamdisk"
    "netstageTree"
    "netstageIpxeScript"
    "netstageVm"
  ];
  build = config.system.build;
  # Names of options, but for internal ones.
  below =
    prefix: o:
    if o._type or "" == "option" then
      if o.internal or false then [ ] else [ prefix ]
    else
      builtins.concatLists (map (name: below (if prefix == "" then name else "${prefix}.${name}") o.${name}) (builtins.attrNames o));
in
{
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
  inherit (config) warnings;
  inherit (config.boot.netstage) active;
  own = below "" evaluated.options.boot.netstage;
  bootspec = config.boot.bootspec.extensions;
  initrd = config.boot.initrd.enable;
  builder = config.system.systemBuilderCommands;
  systemd = config.boot.systemdExecutable;
  services = builtins.attrNames config.systemd.services;
  images = builtins.attrNames config.image.modules;
  fileSystems = builtins.mapAttrs (_: fs: {
    inherit (fs) device fsType options;
  }) config.fileSystems;
  outputs = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = {
        path = build.${name}.outPath;
        script = builtins.unsafeDiscardStringContext build.${name}.script;
      };
    }) (builtins.filter (_: config.boot.netstage.active) outputs)
  );
}
