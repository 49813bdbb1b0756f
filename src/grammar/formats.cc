// SPDX-License-Identifier: Apache-2.0
#include "grammar/formats.h"

#include <array>

namespace deepshock {
namespace {

// RFC 3339, years from 1000 on, which every reader takes; days by month, the 29th of February in leap years
// only.
#define DS_YEAR "[1-9]\\d{3}"
#define DS_LEAP_YEAR "(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
#define DS_DATE                                                                                              \
  "(?:" DS_YEAR                                                                                              \
  "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[" \
  "0-8]))"                                                                                                   \
  "|" DS_LEAP_YEAR "-02-29)"
#define DS_TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define DS_OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define DS_IPV4 DS_OCTET "(?:\\." DS_OCTET "){3}"
#define DS_HEX "[0-9a-fA-F]{1,4}"
#define DS_LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?"
#define DS_HOST DS_LABEL "(?:\\." DS_LABEL "){0,5}"
#define DS_URI_CHARACTERS "(?:[a-zA-Z0-9._~!$&'()*+,;=:@/-]|%[0-9a-fA-F]{2})*"
#define DS_URI_REST DS_URI_CHARACTERS "(?:\\?(?:[?]|" DS_URI_CHARACTERS ")*)?(?:#" DS_URI_CHARACTERS ")?"

struct Format {
  std::string_view name, pattern;
};

constexpr std::array kFormats = {
    Format{"date", DS_DATE},
    Format{"time", DS_TIME},
    Format{"date-time", DS_DATE "T" DS_TIME},
    // ISO 8601 as RFC 3339, appendix A.
    Format{"duration",
           "P(?:\\d{1,4}W|(?:\\d{1,4}Y(?:\\d{1,4}M(?:\\d{1,4}D)?)?|\\d{1,4}M(?:\\d{1,4}D)?|\\d{1,4}D)"
           "(?:T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))?"
           "|T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))"},
    Format{"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    Format{"email",
           "[a-zA-Z0-9_+-]{1,20}(?:\\.[a-zA-Z0-9_+-]{1,20}){0,2}@" DS_LABEL "(?:\\." DS_LABEL "){1,4}"},
    Format{"hostname", DS_HOST},
    Format{"ipv4", DS_IPV4},
    // All groups, or "::" in place of some.
    Format{"ipv6",
           "(?:" DS_HEX ":){7}" DS_HEX "|(?:" DS_HEX ":){1,6}:" DS_HEX "|(?:" DS_HEX ":){1,5}(?::" DS_HEX
           "){2}"
           "|(?:" DS_HEX ":){1,4}(?::" DS_HEX "){3}|(?:" DS_HEX ":){1,3}(?::" DS_HEX "){4}"
           "|(?:" DS_HEX ":){1,2}(?::" DS_HEX "){5}|" DS_HEX ":(?::" DS_HEX "){6}|:(?::" DS_HEX "){1,7}"
           "|(?:" DS_HEX ":){1,7}:|::"},
    Format{"uri", "[a-zA-Z][a-zA-Z0-9+.-]*:(?://" DS_HOST "(?::\\d{1,4})?(?:/" DS_URI_REST
                  ")?|/?[a-zA-Z0-9]" DS_URI_REST ")"},
};

}  // namespace

std::optional<std::string> PatternOfFormat(std::string_view format) {
  for (const Format& known : kFormats) {
    if (known.name == format) return std::string(known.pattern);
  }
  return std::nullopt;
}

std::vector<std::string_view> KnownFormats() {
  std::vector<std::string_view> names;
  for (const Format& known : kFormats) names.push_back(known.name);
  return names;
}

}  // namespace deepshock
