package report

import (
	"strings"

	"netstage/fetch/ref"
	"netstage/stage1/cmdline"
)

// blanked stands where a secret was.
const blanked = "(blanked)"

// Parameters are kernel parameters fit for a report, and what makes other
// texts fit for it: the kernel logs its command line, and errors may cite it.
// Blanked are values of parameters whose name speaks of a secret, password
// hashes whatever their parameter, and user, password and query of URLs.
func Parameters(params cmdline.Params) (words []string, blank func(string) string) {
	var pairs []string
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
		if len(p.Value) >= 4 { // a shorter one would take other words for itself
			pairs = append(pairs, p.Value, value)
		}
	}
	return words, strings.NewReplacer(pairs...).Replace
}

func withoutSecrets(key, value string) string {
	switch {
	case value == "":
		return value
	case namesSecret(key), isPasswordHash(value):
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
	for _, word := range []string{"passw", "passphrase", "secret", "token", "credential", "psk", "apikey", "api_key"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// isPasswordHash knows the forms of crypt(5) and argon2: $ID$…$….
func isPasswordHash(value string) bool {
	return strings.HasPrefix(value, "$") && strings.Count(value, "$") >= 2
}
