# The module, with an agent that knows its version and how old its sources are:
# its clock is never before lastModified, in seconds.
{ version, lastModified }:
{ lib, pkgs, ... }:
{
  # Two imports, by two modules of one configuration say, are one.
  key = "netstage#nixosModules.default";
  _file = ./stamped.nix;
  imports = [ ./module.nix ];
  # Of the nixpkgs of the system that imports it.
  config.boot.netstage.package = lib.mkDefault (
    pkgs.callPackage ./package.nix { inherit version lastModified; }
  );
}
