# The options of boot.netstage.
{ config, lib, options, pkgs, ... }:

let
  inherit (lib) mkOption mkEnableOption types;
  # A kernel parameter's value ends at white space; quotes are not for here.
  kernelParams =
    config.boot.kernelParams
    ++ lib.concatMap (s: s.configuration.boot.kernelParams) (lib.attrValues (config.specialisation or { }));
  word = types.strMatching "[^[:space:]\"]+";
in
{
  options.boot.netstage = {
    enable = mkEnableOption "booting this system over the network by netstage";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package with the agent, bin/stage1, for the machine.";
    };

    toolPackage = mkOption {
      type = types.package;
      default =
        if pkgs.stdenv.buildPlatform == pkgs.stdenv.hostPlatform then
          config.boot.netstage.package
        else
          pkgs.buildPackages.callPackage ./package.nix { };
      defaultText = lib.literalExpression "config.boot.netstage.package, or that of pkgs.buildPackages";
      description = "The package with the tool, bin/netstage, for where the system is built.";
    };

    rootfs = mkOption {
      type = types.listOf word;
      default = [ ];
      example = [ "https://images.example.org/web/nix-store.squashfs" ];
      description = ''
        Where the image is: URLs of mirrors, or of artifacts in registries (oci://).
        Without any it is looked for beside the boot file that DHCP names.
        rootfs= on the kernel command line replaces these.
      '';
    };

    registryCredentials = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./registry.json";
      description = ''
        Logins for registries of `rootfs`, a file of the form of docker's config.json
        (docs/registry.md). Each goes to the origin that it is listed under and nowhere
        else. It becomes part of the store and of the initrd, which everybody can read:
        take an account that may pull, and nothing more. null expects it in a second
        archive, as /.initrd-secrets/etc/netstage/registry.json, if it is needed.
      '';
    };

    pin = mkOption {
      type = types.bool;
      default = config.boot.netstage.trustedKeys == [ ];
      defaultText = lib.literalExpression "config.boot.netstage.trustedKeys == [ ]";
      description = ''
        Have the initrd boot this very image and init, and nothing else, whatever the
        command line says. Initrd and image are then to be deployed together.
      '';
    };

    trustedKeys = mkOption {
      type = types.listOf (types.either types.path types.singleLineStr);
      default = [ ];
      example = [ "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3" ];
      description = ''
        Public keys, or files with one, of netstage keygen or minisign. With any, the
        machine boots only what a manifest signed by one of them names.
      '';
    };

    manifest = mkOption {
      type = types.listOf word;
      default = [ ];
      example = [ "https://images.example.org/web/nix-store.squashfs.manifest" ];
      description = ''
        With `trustedKeys`: where the signed manifest is, URLs of mirrors. Without any it is
        looked for beside the boot file that DHCP names.
      '';
    };

    manifestName = mkOption {
      type = types.nullOr word;
      default = null;
      example = "web";
      description = "With `trustedKeys`: boot only manifests that are signed for this name (netstage sign --name).";
    };

    manifestKeys = mkOption {
      type = types.listOf word;
      default = [ ];
      example = [ "https://images.example.org/keys" ];
      description = ''
        With `trustedKeys`: where a signed list of the keys is that sign manifests in their
        place, URLs of mirrors (netstage keylist).
      '';
    };

    manifestNotBefore = mkOption {
      type = types.nullOr word;
      default = null;
      example = "2026-11-23";
      description = "Refuse manifests that were signed before this day, lest an old one is replayed.";
    };

    policy = {
      shell = mkOption {
        type = types.enum [ "cmdline" "password" "never" ];
        # Whoever writes the command line of a machine that verifies what it boots
        # is not to have a shell in it, unless the configuration gives shells anyhow.
        default =
          let
            cfg = config.boot.netstage;
          in
          if cfg.policy.verify != "required" then
            "cmdline"
          else if cfg.shellPasswordHash != null then
            "password"
          else if cfg.ssh.authorizedKeys != [ ] || cfg.authorizedFallbackShell || cfg.debug.breakAt != [ ] then
            "cmdline"
          else
            "never";
        defaultText = lib.literalMD ''
          `"cmdline"` where nothing has to be verified, or where `ssh.authorizedKeys`,
          `authorizedFallbackShell` or `debug.breakAt` give shells; `"password"` with
          `shellPasswordHash`; else `"never"`
        '';
        description = ''
          Who may have a shell in the initrd: whom the kernel command line allows it, whoever
          knows the password of `shellPasswordHash`, or nobody.
        '';
      };
      verify = mkOption {
        type = types.enum [ "required" "warn" ];
        default =
          if config.boot.netstage.pin || config.boot.netstage.trustedKeys != [ ] then "required" else "warn";
        defaultText = lib.literalMD "required with `pin` or `trustedKeys`";
        description = "What becomes of an image that nothing vouches for.";
      };
      offlineDays = mkOption {
        type = types.nullOr (types.ints.between 1 36500);
        default = null;
        example = 30;
        description = ''
          Boot the last good image on `cacheDisk` where no server brings one, for
          so many days after a server last had it; null for never. 36500 is no limit,
          which a machine without a clock needs.
        '';
      };
      manifest = mkOption {
        type = types.enum [ 1 2 ];
        default = 1;
        description = "The oldest format of a manifest that is taken; 2 has a serial, which keeps old ones from being replayed.";
      };
      signatures = mkOption {
        type = types.ints.between 1 16;
        default = 1;
        description = "How many different keys have to sign a manifest.";
      };
      rollback = mkOption {
        type = types.enum [ "refused" "required" ];
        default = "refused";
        description = ''
          Older serials than one that was booted are refused where a TPM or UEFI remembers it;
          with "required" nothing is booted where neither is there.
        '';
      };
      cmdline = mkOption {
        type = types.nullOr (types.either (types.enum [ "any" "listed" "own" ]) (types.listOf types.str));
        default = if config.boot.netstage.policy.verify == "required" then kernelParams else null;
        defaultText = lib.literalMD "`boot.kernelParams`, of specialisations, too, where an image has to be vouched for";
        example = [ "systemd.unit=rescue.target" "hugetlb_*" ];
        description = ''
          What the kernel command line may hold besides the parameters that neither run nor
          mount anything: names, names with a value, or the beginnings of names and a `*`. Any
          other one ends the boot. `"own"` allows what the initrd itself has, and `"any"` all.
        '';
      };
    };

    shellPasswordHash = mkOption {
      type = types.nullOr types.singleLineStr;
      default = null;
      example = "$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHRzYWx0c2FsdA$…";
      description = ''
        What shells on a console ask for, by netstage passwd or mkpasswd -m sha512crypt.
        Whoever can read the initrd can read it: choose a long password.
      '';
    };

    ssh = {
      authorizedKeys = mkOption {
        type = types.listOf types.singleLineStr;
        default = [ ];
        description = "Who gets the initrd's shell by ssh, as root. With any, the agent serves ssh on port 22 (boot.ssh).";
      };
      hostKey = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = ''
          The initrd's own private key, for ssh in the initrd alone: it becomes part of the store
          and of the initrd, which everybody can read. null expects it in a second archive, as
          /.initrd-secrets/etc/netstage/ssh_host_ed25519_key.
        '';
      };
    };

    authorizedFallbackShell = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Offer a shell to everyone at a console when the boot fails. With false only when the
        command line has boot.shell_on_fail. Never when `policy.shell` is "never".
      '';
    };

    allNetworkDrivers = mkOption {
      type = types.bool;
      default = true;
      description = "Pack every NIC driver of the kernel; otherwise those in `modules` alone.";
    };

    modules = mkOption {
      type = types.listOf word;
      default = [ ];
      example = [ "nvme" ];
      description = "Kernel modules for the initrd, by name. What they depend on comes along.";
    };

    firmware = mkOption {
      type = types.nullOr types.path;
      default = config.hardware.firmware;
      defaultText = lib.literalExpression "config.hardware.firmware";
      description = "A package with lib/firmware; what the modules of the initrd name is packed.";
    };

    caCertificates = mkOption {
      type = types.listOf types.path;
      default = [ ];
      description = ''
        The only authorities trusted for https, files in PEM. Without any, nixpkgs' cacert
        is packed when a URL needs them.
      '';
    };

    network = {
      interfaces = mkOption {
        default = { };
        example = lib.literalExpression ''
          { lan0 = { mac = "52:54:00:12:34:56"; address = "192.0.2.10/24"; gateway = "192.0.2.1"; }; }
        '';
        description = ''
          Static addresses, for machines without DHCP. The name is the kernel's (eth0), or
          any other where `mac` says which card is meant. With any, other cards are left alone.
        '';
        type = types.attrsOf (
          types.submodule {
            options = {
              mac = mkOption {
                type = types.nullOr (types.strMatching "([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}");
                default = null;
                description = "The card that is to have the name.";
              };
              address = mkOption {
                type = types.strMatching "[0-9a-fA-F.:]+/[0-9]+";
                description = "Address with the length of its prefix, IPv4 or IPv6.";
              };
              gateway = mkOption {
                type = types.nullOr (types.strMatching "[0-9a-fA-F.:]+");
                default = null;
                description = "The router.";
              };
            };
          }
        );
      };
      nameservers = mkOption {
        type = types.listOf word;
        default = [ ];
        description = "Name servers for the initrd, besides those of DHCP.";
      };
      sendHostName = mkOption {
        type = types.bool;
        default = true;
        description = "Tell DHCP servers `networking.hostName`, unless `ip=` has another (boot.dhcp.hostname=).";
      };
      keep = mkOption {
        type = types.bool;
        default = (import ./initrd.nix { inherit lib options; }).network.keep;
        defaultText = lib.literalMD "true where `boot.initrd.network.flushBeforeStage2` is false";
        description = "Leave the card configured for stage 2; otherwise it is flushed and down, as NixOS does.";
      };
      timeout = mkOption {
        type = types.nullOr types.ints.unsigned;
        default = null;
        description = "Seconds until a boot without a network has failed; 0 for ever, null for the agent's own, which is for ever.";
      };
    };

    debug = {
      trace = mkOption {
        type = types.bool;
        default = false;
        description = "Show every change to the system on the console (boot.trace).";
      };
      breakAt = mkOption {
        type = types.listOf word;
        default = [ ];
        example = [ "network" ];
        description = "Stop in a shell before these steps (boot.break=).";
      };
    };

    stream = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Start stage 2 on the blocks of the image that it reads, and fetch the
          rest behind it (rootfs.stream). Needs `pin` or `trustedKeys`, whose
          root hash vouches for each block.
        '';
      };
      early = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Let the network of stage 2 start before the image is whole, for
          managers that keep the addresses they find, as systemd-networkd does
          with the files that the initrd leaves it.
        '';
      };
    };

    cache = mkOption {
      type = types.nullOr (types.strMatching "https?://[^[:space:]\"]+");
      default = null;
      example = "http://cache:8080/";
      description = ''
        A cache for images that is asked before the servers (rootfs.cache=,
        docs/fleet.md). It needs no trust.
      '';
    };

    cacheDisk = {
      device = mkOption {
        type = types.nullOr word;
        default = null;
        example = "LABEL=cache";
        description = ''
          The disk with the images of the last two good boots (rootfs.cache.disk=,
          docs/cache.md): what they have of the next one is not fetched. The system
          keeps its image there when it is up. `policy.offlineDays` allows to boot
          one of them without a server.
        '';
      };
      fsType = mkOption {
        type = types.strMatching "[a-z0-9]+";
        default = "ext4";
        description = "The file system on that disk.";
      };
    };

    verityMount = mkOption {
      type = types.bool;
      default = false;
      description = "Verify every block again whenever it is read, by dm-verity (rootfs.verity.mount).";
    };

    report = mkOption {
      type = types.nullOr word;
      default = null;
      example = "http://boot.example.org:8080/reports";
      description = "Where the report of each boot is posted, good or bad (boot.report=).";
    };

    log = mkOption {
      type = types.nullOr (types.strMatching "udp://[^[:space:]\"]+");
      default = null;
      example = "udp://log.example.org:514";
      description = "A syslog collector for the kernel log of the initrd (boot.log=).";
    };

    watchdog = mkOption {
      type = types.nullOr (types.strMatching "[0-9]{1,4}(,keep)?(,softdog)?");
      default = null;
      example = "60,keep";
      description = ''
        Seconds after which the machine's watchdog resets it when the initrd
        hangs (boot.watchdog=). Its driver belongs into `modules`: i6300esb;
        iTCO_wdt, lpc_ich and i2c_i801; sp5100_tco and i2c_piix4; or softdog
        where the machine has none. With
        `,keep` systemd.watchdog.runtimeTime has to go on with it.
      '';
    };

    parameters = mkOption {
      type = types.listOf types.singleLineStr;
      default = [ ];
      example = [ "vlan=eth0.7:eth0" "rootfs.proxy=http://proxy.example.org:3128" ];
      description = ''
        More parameters of the initrd's own, as the kernel command line has them
        (docs/parameters.md). The command line replaces them one by one.
      '';
    };

    failTimeout = mkOption {
      type = types.nullOr types.ints.unsigned;
      default = null;
      description = "Seconds until a failed boot reboots the machine; 0 for ever, null for the agent's own, 60.";
    };

    format = mkOption {
      type = types.enum [ "squashfs" "erofs" ];
      default = "squashfs";
      description = ''
        The file system of the image. A squashfs is the smaller. In an erofs an
        unchanged file is the same blocks as in the image before, so that a
        machine with a `cacheDisk` fetches only what changed (docs/cache.md).
      '';
    };

    erofs.compression = mkOption {
      type = word;
      default = "lz4hc:9";
      example = "zstd:19";
      description = "ALGORITHM[:LEVEL] of an erofs: lz4hc, lz4, none, or zstd, which takes Linux 6.10.";
    };

    squashfs.compression = mkOption {
      type = word;
      default = "zstd:19";
      example = "zstd:3";
      description = "ALGORITHM[:LEVEL] of a squashfs: zstd, gzip or xz.";
    };

    storeContents = mkOption {
      type = types.listOf types.path;
      default = [ ];
      description = "Store paths to put into the image besides the system's closure.";
    };

    extraFiles = mkOption {
      type = types.attrsOf types.path;
      default = { };
      example = lib.literalExpression ''{ "/etc/motd" = ./motd; }'';
      description = "Files and folders for the initrd, by their absolute place in it.";
    };
  };
}
