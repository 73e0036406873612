# VM tests in the style of makeNetbootTest (nixpkgs: nixos/tests/boot.nix): a
# machine without a disk boots a NixOS by iPXE and the netstage module.
#
#   nix-build nix -A tests.bios        or: nix build .#checks.x86_64-linux.bios
#
# NOT RUN YET: they evaluate on the whole of nixpkgs, and have never been built,
# which the project's own CI is without. What CI does run is the module's
# scripts, with stand-ins for nixpkgs, and their result in QEMU
# (qemu-tests/module_test.go). Corrections are welcome.
{
  pkgs ? import <nixpkgs> { },
}:

let
  inherit (pkgs) lib;
  system = pkgs.stdenv.hostPlatform.system;

  config =
    (import (pkgs.path + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [
        ./module.nix
        (pkgs.path + "/nixos/modules/testing/test-instrumentation.nix")
        {
          nixpkgs.pkgs = pkgs;
          boot.netstage = {
            enable = true;
            squashfs.compression = "zstd:3";
          };
          boot.kernelParams = [ "netstage-test" ];
          system.stateVersion = lib.trivial.release;
        }
      ];
    }).config;

  # iPXE gets the script by TFTP, and everything else from where that came from;
  # the image, for which TFTP is too slow, by HTTP from the host.
  tree = config.system.build.netstageTree;
  port = "8069";
  served = pkgs.runCommand "netstage-served" { } ''
    cp -r ${tree} $out
    chmod -R u+w $out
    sed -i 's|rootfs=nix-store.squashfs|& rootfs.base=http://10.0.2.2:${port}/|' $out/boot.ipxe
  '';

  makeNetstageTest =
    name: flags:
    pkgs.testers.runNixOSTest {
      name = "netstage-${name}";
      nodes = { };
      testScript = ''
        import subprocess

        server = subprocess.Popen(["${pkgs.python3}/bin/python3", "-m", "http.server", "${port}", "--directory", "${served}"])
        machine = create_machine(
            "${pkgs.qemu_test}/bin/qemu-system-x86_64 -m 2048"
            " -netdev user,id=net0,tftp=${served},bootfile=boot.ipxe"
            " -device virtio-net-pci,netdev=net0${flags} -boot order=n"
        )
        try:
            machine.start()
            machine.wait_for_unit("multi-user.target")
            machine.succeed("grep netstage-test /proc/cmdline")
            machine.succeed("test -s /run/netstage/boot.json")
            machine.succeed("findmnt -no FSTYPE /nix/store | grep overlay")
            machine.succeed("nix store verify --no-trust -r --option experimental-features nix-command /run/current-system")
            machine.succeed("journalctl -b -t netstage | grep steps")
            machine.shutdown()
        finally:
            server.terminate()
      '';
    };
in
lib.optionalAttrs (system == "x86_64-linux") {
  bios = makeNetstageTest "bios" "";
  uefi = makeNetstageTest "uefi" (
    ",romfile=${pkgs.ipxe}/ipxe.efirom"
    + " -drive if=pflash,format=raw,unit=0,readonly=on,file=${pkgs.OVMF.firmware}"
    + " -drive if=pflash,format=raw,unit=1,readonly=on,file=${pkgs.OVMF.variables}"
  );
}
