package qemutests

import (
	"bytes"
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/system"
)

// An attack is what somebody does who has the command line, the network or a
// server, but not the initrd, of a machine with a full policy: a key that signs
// all, no shells, a token. Its zero value is a boot of the good mirror's signed
// manifest.
type attack struct {
	cmdline string             // instead of the manifest's; {url2} and {dir2} are the attacker's
	more    string             // after it
	env     []string           // what the kernel makes of words for programs
	dhcp    []string           // options of the DHCP server
	good    mirror             // the one that the initrd's owner means
	theirs  map[string]string  // files of the attacker's mirror
	script  []faulty.Behaviour // of the good mirror, or of one that sits before it
	content []byte             // served in place of the image
	ends    ending             // stage2: shrugged off, with the right image
	shown   []string           // why
}

// secret is the initrd's token, which no stranger may be sent.
const secret = "geheimer-token"

// play boots a machine under attack.
func (a attack) run(t *testing.T) {
	good := vouchOnce(t, sworn("digest"))
	evil := vouchOnce(t, owned)
	if a.cmdline == "" {
		a.cmdline = "rootfs.manifest={dir}/test.manifest"
	}
	a.good.script, a.good.content = append(a.good.script, a.script...), a.content
	theirs := map[string]string{
		"test.manifest": string(evil.body), "test.manifest.minisig": string(evil.signature), "image.squashfs.verity": string(evil.tree),
	}
	for name, text := range a.theirs {
		theirs[name] = text
	}
	scenario{
		vouched: &good,
		lan:     &network{options: a.dhcp, mirrors: []mirror{a.good, {content: evil.content, files: theirs}}},
		copies:  map[string]string{"/etc/netstage/trusted.d/ops.pub": "{ops.pub}"},
		files:   map[string]string{"/etc/netstage/policy.json": `{"version":1,"shell":"never","verify":"required"}`, "/etc/netstage/token": `{"origin": "http://{addr}", "token": "` + secret + `"}`},
		cmdline: "boot.fail_timeout=1 boot.network_timeout=10 rootfs.floor=65536/1 " + a.cmdline + " " + a.more,
		ends:    a.ends,
		shown:   append(a.shown, "!owned", "!leaves it", "!i shell", "!f shell", "!"+secret),
		env:     a.env,
		check: func(p *played) {
			if end := p.console(); a.ends.end == "" && !strings.Contains(end, "digest: "+good.sha256) {
				p.t.Error("another image than the right one was started")
			}
			for _, e := range p.mirrors[1].server.Log() {
				if a.env != nil {
					p.t.Errorf("the attacker was asked: %+v", e)
				}
				if strings.Contains(e.Auth+e.Path+e.Query+e.Referer, secret) {
					p.t.Errorf("the attacker was sent the secret: %+v", e)
				}
			}
		},
	}.run(t)
}

// owned is the attacker's system.
var owned = system.Files{"nixos-version": "25.05", "init": system.Script("echo owned\necho stage 2 done\n" + system.PowerOff), "bin/sh": system.Script("echo owned\n")}

// Whatever its command line says, a machine with a full policy boots the signed
// image, or nothing.
func TestHostileCommandLines(t *testing.T) {
	t.Parallel()
	evil := vouchOnce(t, owned)
	const manifest = "rootfs.manifest={dir}/test.manifest "
	for name, a := range map[string]attack{
		"the token to the attacker":   {cmdline: "rootfs.manifest={dir2}/test.manifest rootfs.token=/etc/netstage/token", ends: refused("signature"), shown: []string{"no token goes to"}},
		"the token by a proxy":        {more: "rootfs.token=/etc/netstage/token rootfs.proxy={dir2}", ends: refused("signature"), shown: []string{"no token goes to"}},
		"the policy as a token":       {more: "rootfs.token=/etc/netstage/policy.json", ends: refused("policy"), shown: []string{"does not say where"}},
		"another init":                {more: "init=/bin/sh", ends: refused("policy"), shown: []string{"only a file called init is started"}},
		"a program of the image":      {more: "init=" + system.Toplevel + "/nixos-version", ends: refused("policy")},
		"the image's shell":           {more: "init=" + system.Shell, ends: refused("policy")},
		"an init beside the right":    {more: "init={init}/../init", ends: refused("policy")},
		"two inits":                   {more: "init={init} init=/bin/sh", ends: refused("policy")},
		"an empty init":               {more: "init=", ends: refused("bad-parameter")},
		"the kernel's rdinit":         {more: "rdinit=/bin/sh", ends: refused("policy"), shown: []string{"does not allow rdinit"}},
		"words for init":              {more: "-- /bin/sh -c reboot", ends: refused("policy"), shown: []string{"does not allow --, /bin/sh, -c"}},
		"unsigned":                    {cmdline: "rootfs={url2}", ends: refused("signature")},
		"unsigned, pinned":            {cmdline: "init={init} rootfs={url2} rootfs.sha256=" + evil.sha256, ends: refused("signature")},
		"unsigned, with a tree":       {cmdline: "init={init} rootfs={url2} roothash=" + evil.root, ends: refused("signature")},
		"another signature":           {cmdline: "rootfs.manifest={dir2}/test.manifest", ends: refused("signature")},
		"another signature, relative": {cmdline: "rootfs.manifest=test.manifest rootfs.base={dir2}", ends: refused("signature")},
		"the attacker first":          {cmdline: "rootfs.manifest={dir2}/test.manifest " + manifest, shown: []string{"signed by unknown key"}},
		"the attacker last":           {cmdline: manifest + "rootfs.manifest={dir2}/test.manifest"},
		"a mirror of the attacker's":  {more: "rootfs={url2}", ends: refused("mismatch")},
		"another root hash":           {more: "roothash=" + evil.root, ends: refused("policy")},
		"another digest":              {more: "rootfs.sha256=" + evil.sha256, ends: refused("policy")},
		"another tree":                {more: "rootfs.verity={dir2}/image.squashfs.verity", ends: refused("mismatch")},
		"a shell at once":             {more: "boot.debug1", shown: []string{"allows no shell"}},
		"a shell, old name":           {more: "debug1", shown: []string{"allows no shell"}},
		"a shell with devices":        {more: "boot.debug1devices", shown: []string{"allows no shell"}},
		"a shell with mounts":         {more: "boot.debug1mounts", shown: []string{"allows no shell"}},
		"a shell at a step":           {more: "boot.break=image", shown: []string{"allows no shell"}},
		"a shell at every step":       {more: "boot.break=modules boot.break=devices boot.break=network boot.break=image boot.break=root boot.break=handover", shown: []string{"allows no shell"}},
		"a shell on failure":          {more: "boot.shell_on_fail init=/none", ends: refused("policy")},
		"ssh":                         {more: "boot.ssh", shown: []string{"passing over boot.ssh"}},
		"a disk for the root":         {more: "boot.persistence=LABEL=attacker", ends: refused("policy")},
		"the memory":                  {cmdline: "rootfs=/proc/kcore init={init}", ends: refused("signature")},
		"a file of the initrd":        {cmdline: "rootfs=/init init={init}", ends: refused("signature")},
		"the token as an image":       {cmdline: "rootfs=/etc/netstage/token init={init}", ends: refused("signature")},
		"the policy as a manifest":    {cmdline: "rootfs.manifest=/etc/netstage/policy.json", ends: refused("signature")},
		"the token as a manifest":     {cmdline: "rootfs.manifest=/etc/netstage/token", ends: refused("signature")},
		"the token as an authority":   {more: "rootfs.ca=/etc/netstage/token", ends: refused("policy")},
		"no manifest":                 {cmdline: "init={init}", ends: refused("signature")},
		"a canary":                    {more: "boot.check", ends: poweredOff},
		"a report to the attacker":    {more: "boot.report={dir2}/"},
		"a rule for modprobe":         {more: "x.y=\"1\ninstall configfs /bin/sh -c reboot #\"", ends: refused("bad-parameter")},
		"an escape sequence":          {more: "x.y=\x1b[2J", ends: refused("bad-parameter")},
		"a bell":                      {more: "boot.report=http://10.77.0.1/\x07", ends: refused("bad-parameter")},
		"a proxy of the attacker's":   {cmdline: "rootfs.manifest=http://images.test/test.manifest rootfs.proxy=http://{addr2}/", ends: refused("signature")},
		"no patience":                 {more: "boot.fail_timeout=-1", ends: refused("bad-parameter")},
		"a local manifest, unsigned":  {cmdline: "rootfs.manifest=/etc/netstage/trusted.d/ops.pub", ends: refused("signature")},
		"the console of another":      {more: "console=sda console=../etc/netstage/token"},
		"the kernel's other space":    {more: "loglevel=4\u00a0lockdown=none", ends: refused("policy"), shown: []string{"does not allow lockdown"}},
		"an address as a console":     {more: "console=uart8250,mmio,0xfee00000", ends: refused("policy"), shown: []string{"does not allow console"}},
		"a console before that":       {more: "earlycon=uart8250,mmio32,0xfee00000", ends: refused("policy"), shown: []string{"does not allow earlycon"}},
		"tables of its own":           {more: "acpi_rsdp=0x1000", ends: refused("policy"), shown: []string{"does not allow acpi_rsdp"}},
		"a disk to write to":          {more: "rootfs.cache.disk=LABEL=data", ends: refused("policy"), shown: []string{"does not allow rootfs.cache.disk"}},
		"a cache that lies":           {more: "rootfs.cache={dir2}", shown: []string{"{dir2}"}},
		"a cache for a secret":        {more: "rootfs={url}?signature=" + secret + " rootfs.cache={dir2}/ rootfs.token=/etc/netstage/token"},
		"the attacker's keys":         {more: "rootfs.manifest.keys={dir2}/test.manifest", ends: refused("signature")},
		"another name":                {more: "rootfs.manifest.name=other", ends: refused("policy")},
		"a registry of the attacker":  {cmdline: "rootfs=oci://{addr2}/x:1 init={init}", ends: refused("tls")},
		"an artifact of theirs":       {cmdline: "rootfs=oci://{addr2}/x@sha256:" + evil.sha256 + " init={init}", ends: refused("tls")},
		"a manifest without end":      {cmdline: "rootfs.manifest=//dev/zero", ends: refused("no-image")},
		"a tree without end":          {more: "rootfs.verity=//dev/zero", ends: refused("no-image")},
		"an image without end":        {cmdline: "rootfs=//dev/zero init={init}", ends: refused("no-image")},
		"keys without end":            {more: "rootfs.manifest.keys=//dev/zero", ends: refused("no-image")},
		"authorities without end":     {more: "rootfs.ca=/dev/zero", ends: refused("policy")},
		"a token by a detour":         {more: "rootfs.token=/etc/netstage/../netstage/token", ends: refused("bad-parameter")},
		"a name for a card":           {more: "ifname=../x:52:54:00:12:34:56", ends: refused("bad-parameter")},
		"a device below a path":       {more: "vlan=../x:eth0 ip=../x:dhcp", ends: refused("bad-parameter")},
		"a user's name for DHCP":      {more: "boot.dhcp.hostname=$(reboot)", ends: refused("bad-parameter")},
		"a log that is no host":       {more: "boot.log=udp://10.77.0.1/../../x", ends: refused("bad-parameter")},
		"a stream with no memory":     {more: "rootfs.stream=demand rootfs.stream.keep=1", ends: refused("bad-parameter")},
		"an environment": {env: []string{"HTTP_PROXY={dir2}", "http_proxy={dir2}", "ALL_PROXY={dir2}", "SSL_CERT_FILE=/etc/netstage/token", "SSL_CERT_DIR=/etc", "PATH=/etc",
			"LD_PRELOAD=/x.so", "GODEBUG=http2debug=2,netdns=cgo", "GOMEMLIMIT=x", "GOGC=x", "GOTRACEBACK=crash", "GOMAXPROCS=0", "RES_OPTIONS=attempts:1", "LOCALDOMAIN=test", "TZ=/dev/zero", "TMPDIR=/etc/netstage"}},
		"an unbalanced quote": {more: `x="boot.debug1`, ends: refused("policy"), shown: []string{"does not allow x"}},
	} {
		t.Run(name, a.run)
	}
}

// What stage 2, its kernel or this program's runtime would obey is refused by
// name, and nothing is fetched for it.
func TestHostileWordsForStage2(t *testing.T) {
	t.Parallel()
	for _, word := range []string{
		"systemd.run=\"/bin/sh -c reboot\"", "systemd.unit=rescue.target", "systemd.wants=debug-shell.service", "systemd.mask=sshd.service", "systemd.debug_shell",
		"systemd.debug-shell=1", "systemd.mount-extra=/dev/sda:/nix", "systemd.swap-extra=/dev/sda", "systemd.set_credential=passwd.hashed-password.root:", "systemd.set_credential_binary=a:b",
		"systemd.setenv=LD_PRELOAD=/x.so", "systemd.import_credentials=yes", "systemd.verity_root_data=/dev/sda", "systemd.volatile=yes", "systemd.journald.forward_to_console=1",
		"sysctl.kernel.core_pattern=|/bin/sh", "sysctl/kernel/modprobe=/bin/sh", "lsm=", "selinux=0", "apparmor=0", "lockdown=none", "ima_appraise=off", "module.sig_enforce=0", "security=none",
		"modprobe.blacklist=tpm", "module_blacklist=tpm", "emergency", "rescue", "single", "S", "1", "nfsroot=10.77.0.1:/", "dm-mod.create=x", "resume=/dev/sda", "hostname=$(reboot)",
		"rd.break", "rd.systemd.unit=rescue.target", "boot.persistence=LABEL=x", "boot.persistence.opt=exec,dev,suid", "live.nixos.password=x", "live.nixos.passwordHash=x",
		"GOMEMLIMIT=x", "GODEBUG=http2debug=2", "GOTRACEBACK=crash", "LD_PRELOAD=/x.so", "PATH=/tmp", "INIT_VERSION=1", "kgdboc=ttyS0", "slub_debug=P", "init_on_alloc=0", "nokaslr", "mem_encrypt=off",
		"HTTP_PROXY=http://10.77.0.1/", "SSL_CERT_FILE=/etc/netstage/ca.pem", "GOGC=x", "GOMAXPROCS=1", "RES_OPTIONS=x", "TMPDIR=/x", "netconsole=@/,@10.77.0.1/", "nbd.server=10.77.0.1", "dyndbg=+p",
	} {
		t.Run(word, func(t *testing.T) {
			name, _, _ := strings.Cut(word, "=")
			attack{more: word, ends: refused("policy"), shown: []string{"does not allow " + name, "!manifest: "}}.run(t)
		})
	}
}

// The same for servers, which have the manifest or sit before it.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	good, evil := vouchOnce(t, sworn("digest")), vouchOnce(t, owned)
	size := int64(len(good.content))
	changed := bytes.Replace(good.body, []byte(`"init": "`), []byte(`"init": "/bin/sh`), 1)
	files := func(name, text string) mirror { return mirror{files: map[string]string{name: text}} }
	signature := string(good.signature)
	lines := strings.SplitAfter(signature, "\n")
	for name, a := range map[string]attack{
		"another image":               {content: evil.content, ends: refused("mismatch")},
		"another image, chunked":      {content: evil.content, script: always(faulty.Behaviour{Chunked: true}), ends: refused("mismatch")},
		"another image, no length":    {content: evil.content, script: always(faulty.Behaviour{NoLength: true}), ends: refused("mismatch")},
		"the first byte":              {script: always(faulty.Behaviour{Flip: []int64{0}}), ends: refused("mismatch")},
		"a byte in the middle":        {script: always(faulty.Behaviour{Flip: []int64{size / 2}}), ends: refused("mismatch")},
		"the last byte":               {script: always(faulty.Behaviour{Flip: []int64{size - 1}}), ends: refused("mismatch")},
		"a byte more":                 {content: append(bytes.Clone(good.content), 0), ends: refused("mismatch")},
		"a byte less":                 {content: good.content[:size-1], ends: refused("mismatch")},
		"nothing":                     {content: []byte{}, ends: refused("mismatch")},
		"a length of 32 TiB":          {script: always(faulty.Behaviour{Length: 1 << 45}), ends: refused("mismatch")},
		"another image after a cut":   {script: append([]faulty.Behaviour{{End: faulty.EndClose, Cut: size / 2}}, always(faulty.Behaviour{Flip: []int64{size - 1}})...), ends: refused("mismatch")},
		"to a file":                   {script: always(faulty.Behaviour{Location: "file:///etc/netstage/token"}), ends: refused("redirect")},
		"round and round":             {script: always(faulty.Behaviour{Location: "loop"}), ends: refused("redirect")},
		"an encoding":                 {script: always(faulty.Behaviour{Encoding: "gzip"}), ends: refused("encoding")},
		"another tree":                {good: files("image.squashfs.verity", string(evil.tree)), ends: refused("mismatch")},
		"a tree of another image":     {good: files("image.squashfs.verity", string(good.tree[:4096])+string(evil.tree[4096:])), ends: refused("mismatch")},
		"a tree of nothing":           {good: files("image.squashfs.verity", ""), ends: refused("short")},
		"a tree cut short":            {good: files("image.squashfs.verity", string(good.tree[:len(good.tree)-1])), ends: refused("mismatch")},
		"a changed manifest":          {good: files("test.manifest", string(changed)), ends: refused("signature")},
		"a longer manifest":           {good: files("test.manifest", string(good.body)+" "), ends: refused("signature")},
		"a manifest cut short":        {good: files("test.manifest", string(good.body[:len(good.body)/2])), ends: refused("signature")},
		"an empty manifest":           {good: files("test.manifest", ""), ends: refused("short")},
		"a large manifest":            {good: files("test.manifest", strings.Repeat("x", 20<<20)), ends: refused("signature")},
		"another's manifest":          {good: mirror{files: map[string]string{"test.manifest": string(evil.body), "test.manifest.minisig": string(evil.signature)}}, ends: refused("signature")},
		"another's body":              {good: files("test.manifest", string(evil.body)), ends: refused("signature")},
		"another's signature":         {good: files("test.manifest.minisig", string(evil.signature)), ends: refused("signature")},
		"an empty signature":          {good: files("test.manifest.minisig", ""), ends: refused("short")},
		"a large signature":           {good: files("test.manifest.minisig", strings.Repeat("x", 20<<20)), ends: refused("too-large")},
		"a signature without comment": {good: files("test.manifest.minisig", strings.Join(lines[:2], "")), ends: refused("signature")},
		"another comment":             {good: files("test.manifest.minisig", strings.Replace(signature, "\ntrusted comment: ", "\ntrusted comment: x", 1)), ends: refused("signature")},
		"another kind of signature":   {good: files("test.manifest.minisig", strings.NewReplacer("\nRU", "\nRW", "\nRW", "\nRU").Replace(signature)), ends: refused("signature")},
	} {
		t.Run(name, a.run)
	}
}

// The same for whoever answers DHCP.
func TestHostileDHCP(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]attack{
		"a boot file":              {cmdline: "rootfs.manifest=test.manifest", dhcp: []string{"--dhcp-option=67,http://{addr2}/boot.ipxe"}, ends: refused("signature")},
		"a boot file, no manifest": {cmdline: "rootfs=image.squashfs init={init}", dhcp: []string{"--dhcp-option=67,http://{addr2}/boot.ipxe"}, ends: refused("signature")},
		"a name server":            {dhcp: []string{"--dhcp-option=option:dns-server,10.77.0.1", "--address=/#/10.77.0.1"}},
		"a host name of a shell's": {dhcp: []string{"--dhcp-option=12,$(reboot)"}},
		"a root path":              {dhcp: []string{"--dhcp-option=option:root-path,http://{addr2}/image.squashfs"}},
		"control characters":       {dhcp: []string{"--dhcp-option=option:domain-name,a\x1b[2Jb\x07"}},
		"a time server":            {dhcp: []string{"--dhcp-option=option:ntp-server,10.77.0.1"}},
		"a route to nowhere":       {dhcp: []string{"--dhcp-option=121,10.77.0.1/32,10.77.0.254,0.0.0.0/0,10.77.0.254"}, ends: refused("no-route")},
		"a small MTU":              {dhcp: []string{"--dhcp-option=option:mtu,68"}},
		"a proxy":                  {dhcp: []string{"--dhcp-option=252,http://{addr2}/wpad.dat"}},
		"a cache that lies":        {dhcp: []string{"--dhcp-option=224,{dir2}/"}, shown: []string{"DHCP names the cache"}},
		"a cache for the token":    {more: "rootfs.token=/etc/netstage/token rootfs={url}?signature=" + secret, dhcp: []string{"--dhcp-option=224,{dir2}/"}},
		"a cache that is a file":   {dhcp: []string{"--dhcp-option=224,file:///etc/netstage/token"}, shown: []string{"want an http:// or https:// URL"}},
		"a time zone":              {dhcp: []string{"--dhcp-option=100,/dev/zero", "--dhcp-option=101,../../x"}},
		"a swap server":            {dhcp: []string{"--dhcp-option=16,10.77.0.1", "--dhcp-option=18,/etc/passwd"}},
		"a vendor's options":       {dhcp: []string{"--dhcp-option=43," + strings.Repeat("41:", 200) + "41"}},
	} {
		t.Run(name, a.run)
	}
}
