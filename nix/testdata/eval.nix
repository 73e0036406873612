# Evaluates module.nix without nixpkgs: with nixpkgs' lib where nixpkgsLib names
# it, else with the small stand-in of stub-lib.nix. The result is plain data:
# failed assertions, what is set, and the scripts of the derivations.
{
  nixpkgsLib ? null,
  settings ? { }, # a configuration
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
}:

let
  lib = if nixpkgsLib == null then import ./stub-lib.nix else import nixpkgsLib;

  derivation' = name: script: {
    type = "derivation";
    inherit name script;
    outPath = "${work}/${name}";
  };
  platform = {
    isx86 = true;
    system = "x86_64-linux";
  };
  pkgs = {
    callPackage = _: _: {
      type = "derivation";
      name = "netstage";
      outPath = package;
    };
    runCommand = name: _: script: derivation' name script;
    writeText = name: text: store + builtins.unsafeDiscardStringContext (builtins.toFile name text);
    writeShellScript = name: script: store + builtins.unsafeDiscardStringContext (builtins.toFile name script);
    writeShellScriptBin = name: script: derivation' name script;
    closureInfo = { rootPaths }: assert builtins.elem toplevel rootPaths; closure;
    cacert = "/cacert";
    coreutils = "/coreutils";
    inherit e2fsprogs;
    dosfstools = "/dosfstools";
    f2fs-tools = "/f2fs-tools";
    qemu = "/qemu";
    stdenv = {
      hostPlatform = platform;
      buildPlatform = platform;
    };
  };

  # As nixos/lib/utils.nix has it.
  utils.fsNeededForBoot =
    fs:
    fs.neededForBoot or false
    || builtins.elem fs.mountPoint [ "/" "/nix" "/nix/store" "/var" "/var/log" "/var/lib" "/etc" "/usr" ];

  nixos = {
    boot.kernelPackages.kernel = {
      version = modDirVersion;
      inherit modDirVersion;
    };
    boot.kernelParams = [ "loglevel=4" ];
    boot.initrd.luks.devices = { };
    boot.initrd.availableKernelModules = [ "ahci" ];
    boot.initrd.kernelModules = [ ];
    hardware.firmware = null;
    nix.enable = true;
    nix.package = "/nix-package";
    system.boot.loader.kernelFile = kernelFile;
    system.modulesTree = modulesTree;
    system.build = { inherit kernel toplevel; };
  };

  evaluated =
    if nixpkgsLib == null then
      lib.evaluate {
        inherit nixos settings;
        args = { inherit lib pkgs utils; };
        modules = [ ../options.nix ../module.nix ];
      }
    else
      (lib.evalModules {
        specialArgs = { inherit pkgs utils; };
        modules = [ ../module.nix ./stub-options.nix nixos settings ];
      }).config;

  outputs = [
    "netstageImage"
    "netstageRamdisk"
    "netstageAllInOneRamdisk"
    "netstageTree"
    "netstageIpxeScript"
    "netstageVm"
  ];
  build = evaluated.system.build;
in
{
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) evaluated.assertions);
  systemd = evaluated.boot.systemdExecutable;
  services = builtins.attrNames evaluated.systemd.services;
  fileSystems = builtins.mapAttrs (_: fs: {
    inherit (fs) device fsType options;
  }) evaluated.fileSystems;
  outputs = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = {
        path = build.${name}.outPath;
        script = builtins.unsafeDiscardStringContext build.${name}.script;
      };
    }) outputs
  );
}
