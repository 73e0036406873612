# The options below boot.initrd that a nixpkgs has, but for those that it keeps
# for their old names.
{ nixpkgs, system ? "x86_64-linux" }:
let
  lib = import (nixpkgs + "/lib");
  inherit
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [ { nixpkgs.hostPlatform = system; } ];
    })
    options
    ;
  below =
    name: o:
    if o._type or "" == "option" then
      lib.optional (o.visible or true != false) name
    else
      lib.concatLists (lib.mapAttrsToList (n: below "${name}.${n}") o);
in
below "boot.initrd" options.boot.initrd
