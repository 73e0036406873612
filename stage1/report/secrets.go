package report

import (
	"slices"
	"strings"

	"netstage/fetch/ref"
	"netstage/stage1/cmdline"
)

// blanked stands where a secret was.
const blanked = "(blanked)"

// Parameters are kernel parameters fit for a report, and what makes other texts
// fit for it: the kernel logs its command line, and errors may cite it. Blanked
// are values of parameters whose name speaks of a secret, password hashes and
// tokens of known kinds whatever their parameter, and user, password and query
// of URLs. Where the kernel logs its command line, which it may have cut in the
// middle of one, the words stand instead.
func Parameters(params cmdline.Params) (words []string, blank func(string) string) {
	var pairs, secrets []string
	for _, p := range params {
		if !p.HasValue {
			words = append(words, p.Key)
			continue
		}
		value := withoutSecrets(p.Key, p.Value)
		words = append(words, p.Key+"="+value)
		if value == p.Value {
			continue
		}
		pairs = append(pairs, p.Key+"="+p.Value, p.Key+"="+value, p.Key+`="`+p.Value, p.Key+`="`+value)
		if len(p.Value) >= shortest {
			pairs = append(pairs, p.Value, value)
			secrets = append(secrets, p.Value)
		}
	}
	replace := strings.NewReplacer(pairs...).Replace
	return words, func(text string) string {
		if i := cutAfter(text); i > 0 {
			return text[:i] + strings.Join(words, " ")
		}
		return withoutBeginning(replace(text), secrets)
	}
}

// shortest is how many bytes of a secret are looked for: fewer would take other
// words for them.
const shortest = 4

// cutAfter is where the command line begins in a line of the kernel's that is
// about it; 0 in others (init/main.c, arch/*/kernel/setup.c).
func cutAfter(text string) int {
	for _, mark := range []string{"ommand line: ", "ommand line parameters "} {
		if i := strings.Index(text, mark); i >= 0 {
			return i + len(mark)
		}
	}
	return 0
}

// withoutBeginning blanks the beginning of a secret at the end of a text, which
// was cut there: printk has room for some thousand bytes.
func withoutBeginning(text string, secrets []string) string {
	for _, secret := range secrets {
		for n := min(len(secret)-1, len(text)); n >= shortest; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				return text[:len(text)-n] + blanked
			}
		}
	}
	return text
}

func withoutSecrets(key, value string) string {
	switch {
	case value == "":
		return value
	case namesSecret(key), isPasswordHash(value), isToken(value):
		return blanked
	case key == "root" || key == "netroot" || key == "nfsroot": // netroot=iscsi:user:password@host
		if at := strings.LastIndexByte(value, '@'); at >= 0 && !strings.Contains(value, "://") {
			return blanked + value[at:]
		}
	}
	var parts []string
	for _, part := range strings.Split(value, ",") {
		// A password may have a comma in it.
		if n := len(parts); n > 0 && strings.Contains(parts[n-1], "://") && !strings.Contains(part, "://") {
			parts[n-1] += "," + part
			continue
		}
		parts = append(parts, part)
	}
	for i, part := range parts {
		if strings.Contains(part, "://") {
			parts[i] = ref.Redacted(part)
		}
	}
	return strings.Join(parts, ",")
}

// namesSecret tells by a parameter's name that its value is one. The values of
// rootfs.token= is the path of a file.
func namesSecret(key string) bool {
	key = strings.ToLower(key)
	if key == "rootfs.token" {
		return false
	}
	key = strings.ReplaceAll(key, "-", "_")
	for _, word := range []string{
		"passw", "passphrase", "pwd", "secret", "token", "credential", "psk", "cookie", "bearer",
		"apikey", "api_key", "access_key", "accesskey", "private_key", "privatekey", "auth_key", "authkey", "wireguard.key",
	} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// kinds are what tokens and keys of well-known services and tools begin with.
var kinds = []string{
	"ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "ASIA", "eyJ", "sk-", "hvs.", "tskey-", "AGE-SECRET-KEY-", "-----BEGIN",
}

// isPasswordHash knows the forms of crypt(5) and argon2: $ID$…$….
func isPasswordHash(value string) bool {
	return strings.HasPrefix(value, "$") && strings.Count(value, "$") >= 2
}

// isToken knows some by how they begin.
func isToken(value string) bool {
	return len(value) >= 16 && slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(value, kind) })
}
