# What module.nix makes for system.build. Each of the derivations runs the
# netstage tool, as a user would by hand.
{ config, lib, pkgs, initrd, needed, secrets }:

let
  inherit (config.boot.netstage) ssh;
  inherit (config.environment) etc;
  inherit (lib) concatMap escapeShellArg optional optionals optionalString;
  cfg = config.boot.netstage;
  kernel = config.boot.kernelPackages.kernel;
  toplevel = config.system.build.toplevel;
  imageName = "nix-store.${cfg.format}";
  init = "${toplevel}/init";
  signed = cfg.trustedKeys != [ ];
  # An artifact in a registry has its manifest in it.
  inRegistry = ref: lib.hasPrefix "oci:" ref || lib.hasPrefix "oci+http:" ref;
  artifacts = cfg.rootfs != [ ] && lib.all inRegistry cfg.rootfs;
  manifests =
    if !signed || artifacts && cfg.manifest == [ ] then
      [ ]
    else if cfg.manifest != [ ] then
      cfg.manifest
    else
      [ "${imageName}.manifest" ];
  run = runWith { };
  runWith =
    passthru: name: script:
    pkgs.runCommand name {
      inherit passthru;
      nativeBuildInputs = [ cfg.toolPackage ];
      # The names of store paths in manifests and scripts are for the machine
      # that boots: who serves a tree is to have it, and not the system besides.
      __structuredAttrs = true;
      unsafeDiscardReferences.out = true;
    } script;

  # Kernel parameters of the initrd's own: defaults that the command line
  # replaces one by one, and pins, which it can't.
  bracket = address: if lib.hasInfix ":" address then "[${address}]" else address;
  interface =
    name: i:
    let
      parts = lib.splitString "/" i.address;
      gateway = optionalString (i.gateway != null) (bracket i.gateway);
    in
    optional (i.mac != null) "ifname=${name}:${lib.toLower i.mac}"
    ++ [ "ip=${bracket (lib.head parts)}::${gateway}:${lib.last parts}::${name}:none" ];
  hostName = if cfg.network.sendHostName then config.networking.hostName or "" else "";
  parameters =
    map (ref: "rootfs=${ref}") cfg.rootfs
    ++ map (ref: "rootfs.manifest=${ref}") manifests
    ++ optional (cfg.manifestName != null) "rootfs.manifest.name=${cfg.manifestName}"
    ++ map (ref: "rootfs.manifest.keys=${ref}") cfg.manifestKeys
    ++ optional (cfg.manifestNotBefore != null) "rootfs.manifest.newer=${cfg.manifestNotBefore}"
    ++ lib.concatLists (lib.mapAttrsToList interface cfg.network.interfaces)
    ++ map (server: "nameserver=${bracket server}") cfg.network.nameservers
    ++ optional cfg.network.keep "boot.network=keep"
    ++ optional (cfg.network.timeout != null) "boot.network_timeout=${toString cfg.network.timeout}"
    ++ optional (ssh.authorizedKeys != [ ]) "boot.ssh"
    ++ optional cfg.verityMount "rootfs.verity.mount"
    ++ optional cfg.stream.enable "rootfs.stream"
    ++ optional (cfg.cache != null) "rootfs.cache=${cfg.cache}"
    ++ optional (cfg.cacheDisk.device != null) "rootfs.cache.disk=${cfg.cacheDisk.device}"
    ++ optional (cfg.report != null) "boot.report=${cfg.report}"
    ++ optional (cfg.log != null) "boot.log=${cfg.log}"
    ++ optional (cfg.watchdog != null) "boot.watchdog=${cfg.watchdog}"
    ++ optional cfg.authorizedFallbackShell "boot.shell_on_fail"
    ++ optional cfg.debug.trace "boot.trace"
    ++ map (step: "boot.break=${step}") cfg.debug.breakAt
    ++ optional (hostName != "") "boot.dhcp.hostname=${hostName}"
    ++ optional (cfg.failTimeout != null) "boot.fail_timeout=${toString cfg.failTimeout}"
    ++ cfg.parameters;

  text = name: content: pkgs.writeText "netstage-${name}" content;
  policy = {
    version = 1;
    inherit (cfg.policy) shell verify;
  }
  // lib.optionalAttrs (cfg.policy.manifest != 1) { inherit (cfg.policy) manifest; }
  // lib.optionalAttrs (cfg.policy.signatures != 1) { inherit (cfg.policy) signatures; }
  // lib.optionalAttrs (cfg.policy.rollback != "refused") { inherit (cfg.policy) rollback; }
  // lib.optionalAttrs (cfg.policy.offlineDays != null) {
    offline = "last-good";
    offline_days = cfg.policy.offlineDays;
  }
  // lib.optionalAttrs (cfg.policy.cmdline != null) {
    cmdline = if builtins.isList cfg.policy.cmdline then allowed else cfg.policy.cmdline;
  };
  # One by one, as the kernel takes a line apart: what is in quotes is one.
  words = line: concatMap (w: optional (builtins.isList w) (lib.head w)) (builtins.split "(([^[:space:]\"]|\"[^\"]*\")+)" line);
  allowed = lib.unique (concatMap words cfg.policy.cmdline);
  # The agent understands no policy with such a one, and would not boot.
  vague = if builtins.isList cfg.policy.cmdline then lib.filter (w: builtins.match "[^=*]+[*]?|[^=*]+=.*" w == null) allowed else [ ];
  key = k: if builtins.isPath k || lib.hasPrefix "/" k then k else text "key.pub" "${k}\n";
  https = lib.any (p: builtins.match "[^=]*=(https|oci)://.*" (lib.toLower p) != null) parameters;

  # Place in the initrd → file.
  files = {
    "/etc/netstage/policy.json" = text "policy.json" (builtins.toJSON policy);
  }
  // lib.listToAttrs (
    lib.imap1 (n: k: {
      name = "/etc/netstage/trusted.d/${toString n}.pub";
      value = key k;
    }) cfg.trustedKeys
  )
  // lib.optionalAttrs (cfg.caCertificates == [ ] && https) {
    "/etc/ssl/certs/ca-certificates.crt" = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";
  }
  // lib.optionalAttrs (cfg.shellPasswordHash != null) {
    "/etc/netstage/shell-password" = text "shell-password" "${cfg.shellPasswordHash}\n";
  }
  // lib.optionalAttrs (ssh.authorizedKeys != [ ]) {
    "/etc/netstage/authorized_keys" = text "authorized_keys" (lib.concatMapStrings (k: "${k}\n") ssh.authorizedKeys);
  }
  // lib.optionalAttrs (ssh.authorizedKeys != [ ] && ssh.hostKey != null) {
    "/etc/netstage/ssh_host_ed25519_key" = ssh.hostKey;
  }
  // lib.optionalAttrs (cfg.registryCredentials != null) {
    "/etc/netstage/registry.json" = cfg.registryCredentials;
  }
  // lib.optionalAttrs (needed.table != "") { "/etc/netstage/fstab" = text "fstab" needed.table; }
  // modprobeFiles
  // lib.optionalAttrs (initrd.kernelModules != [ ]) {
    "/etc/modules-load.d/nixos.conf" = text "modules-load" (lib.concatMapStrings (m: "${m}\n") initrd.kernelModules);
  }
  // lib.mapAttrs' (place: file: lib.nameValuePair (absolute place) file.source) initrd.extraFiles
  // lib.mapAttrs' (place: file: lib.nameValuePair (absolute place) (if file == null then place else file)) secrets
  // cfg.extraFiles;

  # What NixOS's own stage 1 takes along of it.
  modprobeFiles = lib.listToAttrs (
    concatMap (
      name:
      optional (etc ? ${name} && (etc.${name}.enable or true)) {
        name = "/etc/${name}";
        value = etc.${name}.source;
      }
    ) [ "modprobe.d/nixos.conf" "modprobe.d/ubuntu.conf" "modprobe.d/debian.conf" "modprobe.d/systemd.conf" ]
  );
  absolute = place: if lib.hasPrefix "/" place then place else "/${place}";
  secretsOutside = lib.attrNames (
    lib.filterAttrs (
      place: file:
      let
        source = if file == null then place else file;
      in
      !(builtins.isPath source || lib.hasPrefix builtins.storeDir (toString source))
    ) (secrets // own)
  );
  own =
    lib.optionalAttrs (ssh.hostKey != null) { "/etc/netstage/ssh_host_ed25519_key" = ssh.hostKey; }
    // lib.optionalAttrs (cfg.registryCredentials != null) { "/etc/netstage/registry.json" = cfg.registryCredentials; };

  # The keys of a console where a password or commands are typed.
  keymap = config.console.keyMap or "us";
  keymapWanted = (config.console.enable or true) && cfg.policy.shell != "never" && keymap != "us" && keymap != "";
  keymapScript = "LOADKEYS_KEYMAP_PATH=${pkgs.kbd}/share/keymaps/** ${pkgs.buildPackages.kbd}/bin/loadkeys -b -u ${escapeShellArg (toString keymap)} >keymap";
  hostId = config.networking.hostId or null;
  # Four bytes in the machine's order, as hostid(1) reads them.
  hostIdBytes = lib.concatMapStrings (at: "\\x${builtins.substring at 2 hostId}") (
    if pkgs.stdenv.hostPlatform.isBigEndian or false then [ 0 2 4 6 ] else [ 6 4 2 0 ]
  );

  # A name alone narrows what is packed to what is named; "+" adds to it.
  signedName = m: lib.hasPrefix "+" m || lib.hasPrefix "-" m;
  modules =
    map (m: if cfg.allNetworkDrivers && !signedName m then "+${m}" else m) cfg.modules
    # Of NixOS's own options: nothing there narrows what is packed.
    ++ map (m: "${if initrd.allowMissingModules then "?" else "+"}${m}") initrd.kernelModules
    ++ map (m: "?${m}") initrd.availableKernelModules;

  initrdFlags =
    [ "--init" "${cfg.package}/bin/stage1" "--kernel-modules" "${config.system.modulesTree}/lib/modules/${kernel.modDirVersion}" ]
    ++ concatMap (m: [ "--module" m ]) modules
    ++ optionals (cfg.verityMount && !cfg.allNetworkDrivers) [ "--module" "+dm_verity" ]
    ++ optionals (cfg.stream.enable && !cfg.allNetworkDrivers) [ "--module" "+dm_mod" "--module" "+nbd" ]
    ++ optionals (config.system.etc.overlay.enable or false) [ "--module" "?erofs" ]
    ++ concatMap (archive: [ "--prepend" archive ]) initrd.prepend
    ++ needed.flags
    ++ optionals (cfg.cacheDisk.device != null) [ "--disks" "--filesystem" cfg.cacheDisk.fsType ]
    ++ concatMap (place: [ "--file" "${files.${place}}:${place}" ]) (lib.attrNames files);

  imageFlags = "--processors \"\${NIX_BUILD_CORES:-0}\" --closure-info ${
    pkgs.closureInfo { rootPaths = [ toplevel ] ++ cfg.storeContents; }
  } --init ${init} --format ${cfg.format} --compression ${escapeShellArg cfg.${cfg.format}.compression}";

  kernelParams = toString config.boot.kernelParams;
  kernelName = if pkgs.stdenv.hostPlatform.isx86 then "bzImage" else "vmlinuz";
in
{
  inherit secretsOutside vague;
  build = rec {
    # nix-store.squashfs or .erofs, what vouches for it (.sha256, .verity and .roothash), a
    # .manifest to be signed, and init, the path of its stage 2.
    netstageImage = run "netstage-image" ''
      mkdir -p $out
      netstage image ${imageFlags} --manifest -o $out/${imageName}
      echo ${init} >$out/init
    '';

    netstageRamdisk = runWith { inherit (needed) table; } "netstage-initrd" ''
      mkdir -p $out
      cp ${text "cmdline" (lib.concatMapStrings (p: "${p}\n") parameters)} cmdline
      chmod +w cmdline
      ${optionalString cfg.pin ''
        echo init=${init} >>cmdline
        echo rootfs.roothash=$(cat ${netstageImage}/${imageName}.roothash) >>cmdline
      ''}
      set -- ${lib.escapeShellArgs initrdFlags} --file "$PWD/cmdline:/etc/netstage/cmdline"
      ${optionalString (cfg.firmware != null) ''
        if [ -d ${cfg.firmware}/lib/firmware ]; then
          set -- "$@" --firmware ${cfg.firmware}/lib/firmware ${
            lib.escapeShellArgs (concatMap (f: [ "--firmware-file" f ]) initrd.extraFirmwarePaths)
          }
        fi
      ''}
      ${optionalString keymapWanted ''
        ${keymapScript}
        set -- "$@" --file "$PWD/keymap:/etc/netstage/keymap"
      ''}
      ${optionalString (hostId != null) ''
        printf '${hostIdBytes}' >hostid
        set -- "$@" --file "$PWD/hostid:/etc/hostid"
      ''}
      ${optionalString (cfg.caCertificates != [ ]) ''
        cat ${lib.escapeShellArgs cfg.caCertificates} >ca.pem
        set -- "$@" --file "$PWD/ca.pem:/etc/netstage/ca.pem"
      ''}
      netstage initrd "$@" -o $out/initrd
    '';

    # The image at the end of the initrd, for rEFInd and kexec without a server.
    netstageAllInOneRamdisk = run "netstage-initrd-all-in-one" ''
      mkdir -p $out
      netstage image ${imageFlags} --all-in-one --initrd ${netstageRamdisk}/initrd -o $out/initrd
    '';

    # A folder to be served. Copies, not links: web servers and rsync take it as
    # it is, and netstage serve follows no link out of its folder.
    netstageTree = run "netstage-tree" ''
      mkdir -p $out
      cp ${config.system.build.kernel}/${config.system.boot.loader.kernelFile} $out/${kernelName}
      cp ${netstageRamdisk}/initrd $out/initrd
      cp ${netstageImage}/* $out/
      {
        ${
          if signed then
            # It says init= and which image; the initrd says that it must be signed.
            "echo ${lib.escapeShellArgs (map (ref: "rootfs.manifest=${ref}") manifests ++ map (ref: "rootfs=${ref}") (lib.filter (_: artifacts) cfg.rootfs))}"
          else
            ''
              echo init=${init}
              ${optionalString (cfg.rootfs != [ ]) ''
                echo ${lib.escapeShellArgs (map (ref: "rootfs=${ref}") cfg.rootfs)}
                echo rootfs.roothash=$(cat ${netstageImage}/${imageName}.roothash)
              ''}
            ''
        }
        echo ${escapeShellArg kernelParams}
      } >$out/cmdline
      chmod -R u+w $out
      netstage scripts $out
    '';

    netstageIpxeScript = run "netstage-ipxe-script" ''
      mkdir -p $out
      cp ${netstageTree}/boot.ipxe $out/boot.ipxe
    '';

    # run-netstage-vm [FLAGS OF netstage boot], such as --append boot.debug1
    netstageVm = pkgs.writeShellScriptBin "run-netstage-vm" ''
      PATH=${lib.makeBinPath [ pkgs.qemu ]}''${PATH:+:$PATH}
      export PATH
      exec ${cfg.toolPackage}/bin/netstage boot --dir ${netstageTree} "$@"
    '';
  };
}
