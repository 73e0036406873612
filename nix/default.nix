# Without flakes:
#   nix-build nix -A netstage
# and in a configuration: imports = [ (import /path/to/netstage/nix { }).module ];
{
  pkgs ? import <nixpkgs> { },
}:
{
  netstage = pkgs.callPackage ./package.nix { };
  module = ./module.nix;
  # VM tests: nix-build nix -A tests.bios
  tests = import ./test.nix { inherit pkgs; };
}
