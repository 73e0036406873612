# What the configuration says to a stage 1 of NixOS, of what netstage does as
# well. Options of the scripted one go with it: they are not there, or are kept
# to say so to whoever sets them.
{ lib, options }:

let
  all = options.boot.initrd;
  get =
    default: path:
    let
      option = lib.attrByPath (lib.splitString "." path) { } all;
    in
    if option._type or "" == "option" && option.visible or true != false then option.value else default;
in
{
  inherit get;
  allowMissingModules = get true "allowMissingModules";
  availableKernelModules = get [ ] "availableKernelModules";
  checkJournalingFS = get true "checkJournalingFS";
  extraFiles = get { } "extraFiles";
  extraFirmwarePaths = get [ ] "extraFirmwarePaths";
  kernelModules = get [ ] "kernelModules";
  luks.devices = get { } "luks.devices";
  network.keep = get false "network.enable" && !get true "network.flushBeforeStage2";
  prepend = get [ ] "prepend";
  secrets = get { } "secrets";
  systemd.mounts = get [ ] "systemd.mounts";
  systemd.tmpfiles.settings = get { } "systemd.tmpfiles.settings";
  # The toplevel is that of systemd stage 1, unless the scripted one is chosen.
  systemd.enable = get true "systemd.enable";
}
