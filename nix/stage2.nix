# What netstage adds to stage 2, and the toplevel that it starts.
{ config, lib, options, pkgs, ... }:

let
  inherit (lib) mkDefault mkIf optionalAttrs;
  cfg = config.boot.netstage;
  inherit (cfg) systemdToplevel;
  nixosInit = config.system.nixos-init.enable or false;
  oneshot = {
    Type = "oneshot";
    RemainAfterExit = true;
  };
  beforeSysinit = {
    wantedBy = [ "sysinit.target" ];
    after = [ "local-fs.target" ];
    conflicts = [ "shutdown.target" ];
    restartIfChanged = false;
    serviceConfig = oneshot;
  };
in
{
  config = mkIf cfg.active {
    # Without an initrd of NixOS's own a toplevel is that of a container: a
    # script as init. Under systemd stage 1 it is to be what that would boot,
    # systemd as init, and prepare-root unless nixos-init does its work.
    system.systemBuilderCommands = mkIf systemdToplevel ''
      if [ "$(head -c 2 $out/init)" = "#!" ]; then
        rm -f $out/init
        cp ${config.systemd.package}/lib/systemd/systemd $out/init
        ${lib.optionalString (!nixosInit) ''
          cp ${config.system.build.bootStage2} $out/prepare-root
          substituteInPlace $out/prepare-root --subst-var-by systemConfig $out
        ''}
      fi
    '';

    # nixpkgs tells the agent by boot.json where /etc is, not whether it may be
    # written to.
    boot.bootspec = mkIf (config.system.etc.overlay.enable or false) {
      extensions."org.netstage.v1".etc_mutable = config.system.etc.overlay.mutable;
    };

    # Before anything asks Nix: the image's paths become valid in the new
    # database, and the running system a profile, which nixos-rebuild wants.
    systemd.services = {
      netstage-register-paths = mkIf config.nix.enable (
        beforeSysinit
        // {
          description = "Register the store paths of the netstage image";
          unitConfig = {
            DefaultDependencies = false;
            ConditionPathExists = "/nix/store/nix-path-registration";
          };
          before = [
            "sysinit.target"
            "shutdown.target"
            "nix-daemon.socket"
            "nix-daemon.service"
          ];
          script = ''
            ${config.nix.package}/bin/nix-store --load-db </nix/store/nix-path-registration
            if [ -w /etc ]; then touch /etc/NIXOS; fi
            ${config.nix.package}/bin/nix-env -p /nix/var/nix/profiles/system --set /run/current-system
          '';
        }
      );

      netstage-report = {
        description = "Log how netstage booted this machine";
        unitConfig.ConditionPathExists = "/run/netstage/boot.json";
        wantedBy = [ "multi-user.target" ];
        restartIfChanged = false;
        serviceConfig = oneshot // {
          SyslogIdentifier = "netstage";
          ExecStart = "${pkgs.coreutils}/bin/cat /run/netstage/boot.json";
        };
      };
    }
    # As netboot.nix: for installers that are reached by what the kernel command
    # line says. A system without a shell has no such thing.
    // optionalAttrs (!(options ? netboot) && (config.environment.shell.enable or true)) {
      netstage-live-password = beforeSysinit // {
        description = "Set root's password from the kernel command line";
        unitConfig = {
          DefaultDependencies = false;
          ConditionKernelCommandLine = [
            "|live.nixos.password"
            "|live.nixos.passwordHash"
          ];
        };
        before = [
          "sysinit.target"
          "shutdown.target"
        ];
        after = [
          "local-fs.target"
          "systemd-sysusers.service"
          "userborn.service"
        ];
        path = [
          pkgs.gnugrep
          pkgs.shadow
        ];
        script = ''
          if grep -q "^root::" /etc/shadow; then
            for o in $(</proc/cmdline); do
              case "$o" in
                live.nixos.passwordHash=*) usermod -p "''${o#*=}" root ;;
                live.nixos.password=*) echo "root:''${o#*=}" | chpasswd ;;
              esac
            done
          fi
        '';
      };
    };

    # systemd-analyze tells the initrd's time where systemd is given what the
    # agent left for it; a script as init passes no arguments on by itself.
    boot.systemdExecutable = mkIf (!systemdToplevel) (
      mkDefault "${pkgs.writeShellScript "netstage-start-systemd" ''
        if [ -r /run/netstage/systemd-state ]; then
          exec 9</run/netstage/systemd-state
          set -- --switched-root --system --deserialize=9
        fi
        exec /run/current-system/systemd/lib/systemd/systemd "$@"
      ''}"
    );
  };
}
