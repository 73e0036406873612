# What NixOS's own stage 1 does by an option and netstage does not do: each is
# named when a configuration that sets it is evaluated, with where that is. What
# is not in this table netstage does too, or means nothing in an initrd without
# a disk; docs/nixos.md has both.
#
# refuse: the machine would not boot, or not be what it is trusted to be. Others
# are warnings. left: what of its value has no effect.
{ lib, options, modulesPath, bindInRoot, notMade }:

let
  inherit (lib) attrByPath concatStringsSep filter splitString;

  commands = "runs no commands of its own in stage 1; use a service of stage 2, Before= what needs it";
  units = "starts no systemd in stage 1; use a unit of stage 2, or boot.netstage.extraFiles for files";
  network = "has a network of its own in stage 1: boot.netstage.network, ip=, or DHCP on every card";
  udev = "runs no udev in stage 1; rules work in stage 2, and drivers are loaded by what the hardware is";
  cosmetic = "tells what it does in lines of its own";
  storage = "assembles no storage in stage 1; stage 2 does, by what is not neededForBoot";

  tmpfiles = options.boot.initrd.systemd.tmpfiles.settings.value;

  warn = instead: name: { inherit name instead; refuse = false; };
  refuse = instead: name: { inherit name instead; refuse = true; };

  without = names: v: removeAttrs v names;

  rows =
    map (warn commands) [
      "boot.initrd.preLVMCommands"
      "boot.initrd.preDeviceCommands"
      "boot.initrd.postDeviceCommands"
      "boot.initrd.postResumeCommands"
      "boot.initrd.postMountCommands"
      "boot.initrd.preFailCommands"
      "boot.initrd.extraUtilsCommands"
      "boot.initrd.extraUtilsCommandsTest"
      "boot.initrd.network.postCommands"
    ]
    ++ map (warn udev) [
      "boot.initrd.extraUdevRulesCommands"
      "boot.initrd.services.udev.rules"
      "boot.initrd.services.udev.packages"
      "boot.initrd.services.udev.binPackages"
    ]
    ++ map (warn network) [
      "boot.initrd.network.udhcpc.extraArgs"
      "boot.initrd.network.ifstate.enable"
      "boot.initrd.network.ifstate.settings"
      "boot.initrd.services.resolved.enable"
      "boot.initrd.systemd.network.networks"
      "boot.initrd.systemd.network.netdevs"
      "boot.initrd.systemd.network.links"
      "boot.initrd.systemd.network.config"
      "boot.initrd.systemd.network.units"
    ]
    ++ map (warn "serves ssh in stage 1 by boot.netstage.ssh.authorizedKeys and hostKey") [
      "boot.initrd.network.ssh.enable"
    ]
    ++ map (warn "has no VPN in stage 1") [ "boot.initrd.network.openvpn.enable" ]
    ++ map (warn units) [
      "boot.initrd.systemd.units"
      "boot.initrd.systemd.sockets"
      "boot.initrd.systemd.timers"
      "boot.initrd.systemd.paths"
      "boot.initrd.systemd.slices"
      "boot.initrd.systemd.automounts"
      "boot.initrd.systemd.packages"
      "boot.initrd.systemd.contents"
      "boot.initrd.systemd.storePaths"
      "boot.initrd.systemd.extraBin"
      "boot.initrd.systemd.initrdBin"
      "boot.initrd.systemd.users"
      "boot.initrd.systemd.groups"
      "boot.initrd.systemd.settings.Manager"
      "boot.initrd.systemd.managerEnvironment"
      "boot.initrd.systemd.additionalUpstreamUnits"
      "boot.initrd.systemd.dbus.enable"
      "boot.initrd.systemd.tpm2.pcrphases.enable"
      "boot.initrd.systemd.network.wait-online.extraArgs"
    ]
    ++ [
      # What restores the state of nixos-images' kexec the agent does itself,
      # and targets of preservation only order what is mounted here, too.
      (warn units "boot.initrd.systemd.services" // { left = without [ "restore-state-from-initrd" ]; })
      (warn units "boot.initrd.systemd.targets" // { left = without [ "initrd-preservation" ]; })
      (warn units "boot.initrd.systemd.root" // { left = v: if v == "fstab" then null else v; })
      (warn units "boot.initrd.systemd.mounts" // { left = lib.filter (m: !bindInRoot m); })
      # mounts.nix has what is made.
      (
        warn "makes in stage 1 what it mounts and nothing else; use systemd.tmpfiles of stage 2"
          "boot.initrd.systemd.tmpfiles.settings"
        // {
          # What is said in one place may be conditions; all of it together is not.
          left = v: filter (name: lib.any (path: notMade path tmpfiles.${name}.${path}) (lib.attrNames (tmpfiles.${name} or { }))) (lib.attrNames v);
        }
      )
    ]
    ++ map (warn "gives a shell by boot.netstage.shellPasswordHash with policy.shell = \"password\", or authorizedFallbackShell") [
      "boot.initrd.systemd.emergencyAccess"
    ]
    ++ map (warn "verifies its image by itself; other devices are stage 2's to verify") [
      "boot.initrd.systemd.dmVerity.enable"
      "boot.initrd.nix-store-veritysetup.enable"
    ]
    ++ map (refuse "makes no partitions in stage 1; make them beforehand, or by systemd.repart of stage 2") [
      "boot.initrd.systemd.repart.enable"
    ]
    ++ map (warn storage) [
      "boot.initrd.services.lvm.enable"
      "boot.initrd.services.bcache.enable"
      "boot.initrd.services.swraid.enable"
      "services.multipath.enable"
    ]
    ++ map (refuse "logs in to no iSCSI target in stage 1: the root is an image in memory") [
      "boot.iscsi-initiator.discoverPortal"
      "boot.iscsi-initiator.target"
    ]
    ++ map (refuse "opens no encrypted devices in stage 1; unlock them in stage 2, by environment.etc.crypttab") [
      "boot.initrd.clevis.devices"
    ]
    ++ map (warn "opens no encrypted devices in stage 1; unlock them in stage 2, by environment.etc.crypttab") [
      "boot.initrd.clevis.enable"
      "boot.initrd.clevisLuksAskpass.enable"
      "boot.initrd.unl0kr.enable"
      "boot.initrd.luks.forceLuksSupportInInitrd"
    ]
    ++ map (warn "resumes from no hibernation") [ "boot.resumeDevice" ]
    ++ map (warn "has no initrd in the system's closure that a crash kernel could use") [ "boot.crashDump.enable" ]
    ++ map (warn "packs its initrd with zstd") [
      "boot.initrd.compressor"
      "boot.initrd.compressorArgs"
    ]
    ++ map (warn "has its root in memory, which does not grow") [ "boot.growPartition" ]
    ++ map (warn "sets no font in stage 1; the keys of console.keyMap it has") [ "console.earlySetup" ]
    ++ map (warn "shows no splash; it starts in stage 2") [ "boot.plymouth.enable" ]
    ++ map (warn cosmetic) [
      "boot.initrd.stage1Greeting"
      "boot.initrd.osRelease"
    ];

  # What nixpkgs itself sets takes part in a feature, which has its own row.
  foreign = d: !(lib.hasPrefix "${toString modulesPath}/" (toString d.file));
  counts = v: !(builtins.elem v [ false null "" [ ] { } ]);

  found =
    row:
    let
      option = attrByPath (splitString "." row.name) null options;
      exists = option != null && option._type or "" == "option" && option.visible or true != false;
      # Conditions within a definition are settled in the option's value alone.
      settled =
        v: if builtins.isAttrs v && builtins.isAttrs option.value then builtins.intersectAttrs v option.value else v;
      places = filter (d: foreign d && counts ((row.left or lib.id) (settled d.value))) option.definitionsWithLocations;
    in
    if exists then lib.unique (map (d: toString d.file) places) else [ ];

  say = row: "boot.netstage ${row.instead}: ${row.name} has no effect. It is defined in ${concatStringsSep " and " (found row)}.";
  which = refused: map say (filter (row: row.refuse == refused && found row != [ ]) rows);
in
{
  inherit rows foreign;
  warnings = which false;
  refusals = which true;
}
