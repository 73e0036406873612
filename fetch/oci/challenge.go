package oci

import "strings"

// A challenge is what a registry wants to see before it answers (RFC 9110,
// 11.6.1).
type challenge struct {
	scheme string // in lower case
	params map[string]string
}

// challenges reads WWW-Authenticate headers. Of what is malformed, the rest is
// left out.
func challenges(headers []string) []challenge {
	var all []challenge
	for _, h := range headers {
		for p := (parser{h}); ; {
			p.skip(" \t,")
			scheme := p.word()
			if scheme == "" {
				break
			}
			c := challenge{strings.ToLower(scheme), map[string]string{}}
			for p.param(c.params) {
			}
			all = append(all, c)
		}
	}
	return all
}

// parser reads a header from its start.
type parser struct{ rest string }

func (p *parser) skip(chars string) { p.rest = strings.TrimLeft(p.rest, chars) }

// word reads a token (RFC 9110, 5.6.2), empty where there is none.
func (p *parser) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		end = len(p.rest)
	}
	w := p.rest[:end]
	p.rest = p.rest[end:]
	return w
}

// param reads one parameter, where there is one. A word without a value begins
// the next challenge, and is left.
func (p *parser) param(into map[string]string) bool {
	before := p.rest
	p.skip(" \t,")
	name := strings.ToLower(p.word())
	p.skip(" \t")
	if name == "" || !strings.HasPrefix(p.rest, "=") {
		p.rest = before
		return false
	}
	p.rest = p.rest[1:]
	p.skip(" \t")
	value := ""
	if strings.HasPrefix(p.rest, `"`) {
		value = p.quoted()
	} else {
		value = p.word()
	}
	if _, twice := into[name]; !twice {
		into[name] = value
	}
	return true
}

// quoted reads a quoted string, to the end of the header where no quote ends
// it.
func (p *parser) quoted() string {
	var s strings.Builder
	escaped := false
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case escaped:
			s.WriteByte(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			p.rest = p.rest[i+1:]
			return s.String()
		default:
			s.WriteByte(c)
		}
	}
	p.rest = ""
	return s.String()
}
