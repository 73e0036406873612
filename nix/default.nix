# Without flakes:
#   nix-build nix -A netstage
# and in a configuration: imports = [ (import /path/to/netstage/nix { }).module ];
{
  pkgs ? import <nixpkgs> { },
}:
let
  # An unpacked archive does not tell its age; there the clock has no floor.
  checkout = builtins.pathExists ../.git;
  commit = builtins.fetchGit {
    url = toString ../.;
    shallow = true;
  };
  rev = commit.rev or "0000000";
  stamp =
    if checkout then
      {
        # Changes that are not committed have no revision.
        version = if builtins.substring 0 7 rev == "0000000" then "unstable" else builtins.substring 0 7 rev;
        inherit (commit) lastModified;
      }
    else
      {
        version = "unstable";
        lastModified = 0;
      };
in
{
  netstage = pkgs.callPackage ./package.nix stamp;
  module = import ./stamped.nix stamp;
  # nixpkgs.overlays = [ (import ./netstage/nix { }).overlay ];
  overlay = final: _: { netstage = final.callPackage ./package.nix stamp; };
  # VM tests: nix-build nix -A tests.bios
  tests = import ./test.nix { inherit pkgs; };
}
