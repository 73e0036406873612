package modindex

import "strings"

// ModInfo is what a module says of itself in its .modinfo section, as far as
// loading and packing need it.
type ModInfo struct {
	Name     string // normalised
	Depends  []string
	Aliases  []string
	Softdeps []Softdep
	Weakdeps []string // "may ask for it later": to be packed, not loaded
	Firmware []string // relative to /lib/firmware
	Vermagic string   // as in the section, no blanks at its ends
}

// ParseModInfo reads the NUL-separated "key=value" list of a .modinfo section.
func ParseModInfo(section []byte) ModInfo {
	var m ModInfo
	var soft []string
	rest := string(section)
	for rest != "" {
		var item string
		item, rest, _ = strings.Cut(rest, "\x00")
		key, value, ok := strings.Cut(item, "=")
		if !ok || value == "" {
			continue
		}
		switch key {
		case "name":
			m.Name = Name(value)
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d = Name(d); d != "" {
					m.Depends = append(m.Depends, d)
				}
			}
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "softdep":
			soft = append(soft, value)
		case "weakdep":
			m.Weakdeps = append(m.Weakdeps, strings.Fields(value)...)
		case "firmware":
			m.Firmware = append(m.Firmware, value)
		case "vermagic":
			m.Vermagic = strings.TrimSpace(value)
		}
	}
	for _, s := range soft {
		if d, ok := ParseSoftdep("x " + s); ok {
			d.Module = m.Name
			m.Softdeps = append(m.Softdeps, d)
		}
	}
	return m
}

// builtinAliases turns modules.builtin.modinfo, "module.key=value" each ended
// by NUL, into the alias lines of the modules that are part of the kernel.
func builtinAliases(text string) string {
	var out strings.Builder
	for text != "" {
		var item string
		item, text, _ = strings.Cut(text, "\x00")
		key, value, ok := strings.Cut(item, "=")
		module, isAlias := strings.CutSuffix(key, ".alias")
		if ok && isAlias {
			out.WriteString("alias " + value + " " + module + "\n")
		}
	}
	return out.String()
}
