{
  description = "netstage: boots NixOS machines over the network";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      each =
        f:
        nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
          system: f system nixpkgs.legacyPackages.${system}
        );
      stamp = {
        version = self.shortRev or "unstable";
        lastModified = self.lastModified or 0;
      };
    in
    {
      packages = each (
        _: pkgs: rec {
          netstage = pkgs.callPackage ./nix/package.nix stamp;
          default = netstage;
        }
      );

      overlays.default = final: _: { netstage = final.callPackage ./nix/package.nix stamp; };

      nixosModules.default = import ./nix/stamped.nix stamp;
      nixosModules.netstage = self.nixosModules.default;

      checks = each (
        system: pkgs:
        {
          package = self.packages.${system}.netstage;
        }
        // nixpkgs.lib.optionalAttrs (system == "x86_64-linux") (import ./nix/test.nix { inherit pkgs; })
      );

      devShells = each (
        _: pkgs: {
          default = pkgs.mkShell {
            packages = [
              (pkgs.go_1_26 or pkgs.go)
              pkgs.gnumake
              pkgs.squashfsTools
              pkgs.erofs-utils
              pkgs.qemu
              pkgs.cpio
              pkgs.zstd
            ];
          };
        }
      );
    };
}
