# The options of NixOS that the module reads or sets, as nixpkgs declares them
# since 26.05, with what of nixpkgs reacts to them and matters here.
{ config, lib, scripted ? true, ... }:
let
  inherit (lib) mkIf mkOption types;
  option = type: default: mkOption { inherit type default; };
  anything = option types.anything;
  bool = option types.bool;
  str = option types.str;
  lines = option types.lines "";
  list = option (types.listOf types.anything) [ ];
  strings = option (types.listOf types.str) [ ];
  set = option (types.attrsOf types.anything) { };
  nullable = option (types.nullOr types.anything) null;
  # A list becomes a set of names, and is read as a list.
  modules = mkOption {
    type = if types ? attrNamesToTrue then types.attrNamesToTrue else types.coercedTo (types.listOf types.str) (l: lib.genAttrs l (_: true)) (types.attrsOf types.bool);
    default = { };
    apply = s: lib.attrNames (lib.filterAttrs (_: v: v) s);
  };
  needed = fs: fs.neededForBoot || lib.elem fs.mountPoint [ "/" "/nix" "/nix/store" "/var" "/var/log" "/var/lib" "/var/lib/nixos" "/etc" "/usr" ];
  systemd = !scripted || config.boot.initrd.systemd.enable;
  fileSystem = { name, config, ... }: {
    options = {
      enable = bool true;
      mountPoint = str name;
      device = nullable;
      label = nullable;
      fsType = mkOption { type = types.str; };
      options = option (types.listOf types.str) [ "defaults" ];
      depends = strings;
      neededForBoot = bool false;
      autoFormat = bool false;
      autoResize = bool false;
      noCheck = bool false;
      stratis.poolUuid = nullable;
    };
    config.options =
      lib.optional config.autoFormat "x-systemd.makefs"
      ++ lib.optional (needed config) "x-initrd.mount"
      ++ lib.optionals (needed config && systemd) (map (d: "x-systemd.requires-mounts-for=/sysroot${d}") config.depends);
  };
in
{
  # Defaults count as what nixpkgs sets.
  _file = "/nixpkgs/nixos/modules/stub.nix";

  options = {
    assertions = list;
    warnings = strings;
    boot = {
      initrd = {
        enable = bool true;
        availableKernelModules = modules;
        kernelModules = modules;
        allowMissingModules = bool false;
        checkJournalingFS = bool true;
        clevis.devices = set;
        clevis.enable = bool false;
        clevisLuksAskpass.enable = bool false;
        compressor = anything "zstd";
        compressorArgs = nullable;
        extraFiles = set;
        extraFirmwarePaths = strings;
        luks.devices = set;
        luks.forceLuksSupportInInitrd = bool false;
        nix-store-veritysetup.enable = bool false;
        osRelease = anything "/os-release";
        prepend = strings;
        secrets = set;
        stage1Greeting = str "<<< NixOS Stage 1 >>>";
        unl0kr.enable = bool false;
        services = {
          bcache.enable = bool false;
          lvm.enable = bool false;
          resolved.enable = bool false;
          swraid.enable = bool false;
          udev.binPackages = list;
          udev.packages = list;
          udev.rules = lines;
        };
        network = {
          enable = bool false;
          flushBeforeStage2 = bool true;
          ifstate.enable = bool false;
          ifstate.settings = set;
          openvpn.enable = bool false;
          postCommands = lines;
          ssh.enable = bool false;
          udhcpc.extraArgs = strings;
        };
        systemd = {
          enable = bool true;
          additionalUpstreamUnits = strings;
          automounts = list;
          contents = set;
          dbus.enable = bool false;
          dmVerity.enable = bool false;
          emergencyAccess = anything false;
          extraBin = set;
          groups = set;
          initrdBin = list;
          managerEnvironment = set;
          mounts = list;
          network.config = set;
          network.links = set;
          network.netdevs = set;
          network.networks = set;
          network.units = set;
          network.wait-online.extraArgs = strings;
          packages = list;
          paths = set;
          repart.enable = bool false;
          root = anything "fstab";
          services = set;
          settings.Manager = set;
          slices = set;
          sockets = set;
          storePaths = list;
          targets = set;
          timers = set;
          tmpfiles.settings = set;
          tpm2.pcrphases.enable = bool false;
          units = set;
          users = set;
        };
      }
      // lib.genAttrs [ "preLVMCommands" "preDeviceCommands" "postDeviceCommands" "postResumeCommands" "postMountCommands" "preFailCommands" "extraUtilsCommands" "extraUtilsCommandsTest" "extraUdevRulesCommands" ] (_: lines);
      bootspec.extensions = set;
      crashDump.enable = bool false;
      growPartition = bool false;
      isContainer = bool false;
      kernel.enable = bool true;
      iscsi-initiator.discoverPortal = nullable;
      iscsi-initiator.target = nullable;
      kernelPackages = mkOption { type = types.anything; };
      kernelParams = strings;
      loader.grub.enable = bool true;
      plymouth.enable = bool false;
      resumeDevice = str "";
      systemdExecutable = str "/run/current-system/systemd/lib/systemd/systemd";
    };
    console.enable = bool true;
    console.earlySetup = bool false;
    console.keyMap = anything "us";
    environment.etc = option (types.attrsOf types.anything) { };
    environment.shell.enable = bool true;
    fileSystems = option (types.attrsOf (types.submodule fileSystem)) { };
    hardware.firmware = nullable;
    networking.hostId = nullable;
    networking.hostName = str "nixos";
    nix.enable = bool true;
    nix.package = mkOption { type = types.anything; };
    services.multipath.enable = bool false;
    specialisation = set;
    system.boot.loader.kernelFile = mkOption { type = types.str; };
    system.build = option (types.lazyAttrsOf types.unspecified) { };
    system.etc.overlay.enable = bool false;
    system.etc.overlay.mutable = bool true;
    system.modulesTree = mkOption { type = types.anything; };
    system.nixos-init.enable = bool false;
    system.systemBuilderCommands = lines;
    systemd.package = anything "/systemd";
    systemd.services = option (types.attrsOf types.unspecified) { };
  };

  # As the grub module does: who has both needs to say so.
  config = mkIf config.boot.loader.grub.enable {
    assertions = [ { assertion = false; message = "You must set the option 'boot.loader.grub.devices'"; } ];
  };
}
