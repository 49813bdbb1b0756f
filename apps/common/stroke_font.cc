// SPDX-License-Identifier: Apache-2.0
#include "apps/common/stroke_font.h"

#include <cstddef>
#include <cstdint>

namespace deepshock {
namespace {

// A letter's strokes are separated by spaces; a point is two digits, x and y (a to g are 10 to 16). A stroke
// that begins with ~ is a smooth curve through its points, closed where it ends where it began. y counts
// downwards: capitals stand from 0 to 12, small letters from 4 to 12, tails reach 16.
struct Glyph {
  char letter;
  int width;
  const char* strokes;
};
constexpr Glyph kGlyphs[] = {
    {' ', 3, ""},
    {'!', 0, "0008 0b0c"},
    {'"', 3, "0003 3033"},
    {'#', 8, "302c 705c 0484 0888"},
    {'$', 8, "~8371401103154677897b4c1b09 404c"},
    {'%', 10, "a00c ~2042240220 ~88aa8c6a88"},
    {'&', 9, "9c24 ~2421406163 6308 ~080a2c4c6b98"},
    {'\'', 0, "0003"},
    {'(', 3, "~3014083e"},
    {')', 3, "~0024280e"},
    {'*', 6, "3238 0367 0763"},
    {'+', 8, "444c 0888"},
    {',', 1, "1b0e"},
    {'-', 5, "0858"},
    {'.', 0, "0b0c"},
    {'/', 6, "600c"},
    {'0', 8, "~4072867a4c1a061240"},
    {'1', 8, "23505c"},
    {'2', 8, "~031140718366 660c8c"},
    {'3', 8, "~02114071837546 ~4677897b4c1b0a 3646"},
    {'4', 8, "6c600888"},
    {'5', 8, "701015 ~154476887b4c0b"},
    {'6', 8, "~71401308 ~4576887b4c1b081645"},
    {'7', 8, "00803c"},
    {'8', 8, "~40717546151140 ~4677897b4c1b091746"},
    {'9', 8, "~1b4c7984 ~471604114071847647"},
    {':', 0, "0506 0b0c"},
    {';', 1, "1516 1b0e"},
    {'<', 7, "74087c"},
    {'=', 8, "0686 0a8a"},
    {'>', 7, "04780c"},
    {'?', 7, "~022050724748 4b4c"},
    {'A', 8, "0c408c 1777"},
    {'B', 8, "000c 0040 0646 0c4c ~4071837546 ~4677897b4c"},
    {'C', 9, "~93815012061a5c8b99"},
    {'D', 9, "000c 0030 0c3c ~3072967a3c"},
    {'E', 7, "70000c7c 0666"},
    {'F', 7, "70000c 0666"},
    {'G', 9, "~93815012061a5c8b97 5797"},
    {'H', 8, "000c 808c 0686"},
    {'I', 0, "000c"},
    {'J', 6, "6068 ~686a3c0a"},
    {'K', 8, "000c 8007 348c"},
    {'L', 7, "000c7c"},
    {'M', 10, "0c0058a0ac"},
    {'N', 8, "0c008c80"},
    {'O', 10, "~5092a69a5c1a061250"},
    {'P', 8, "000c 0040 0747 ~4071847647"},
    {'Q', 10, "~5092a69a5c1a061250 69ad"},
    {'R', 8, "000c 0040 0747 ~4071847647 478c"},
    {'S', 8, "~8371401103154677897b4c1b09"},
    {'T', 8, "0080 404c"},
    {'U', 8, "0008 8088 ~081b4c7b88"},
    {'V', 8, "004c80"},
    {'W', 12, "003c629cc0"},
    {'X', 8, "008c 800c"},
    {'Y', 8, "004680 464c"},
    {'Z', 8, "00800c8c"},
    {'[', 3, "30000e3e"},
    {'\\', 6, "006c"},
    {']', 3, "00303e0e"},
    {'^', 6, "043064"},
    {'_', 8, "0d8d"},
    {'`', 2, "0022"},
    {'a', 7, "~78653415081b3c6b78 747c"},
    {'b', 7, "000c ~08154465786b4c1b08"},
    {'c', 6, "~653415081b3c6b"},
    {'d', 7, "707c ~78653415081b3c6b78"},
    {'e', 7, "0878 ~78654415081b4c6b"},
    {'f', 5, "~50312324 242c 0454"},
    {'g', 7, "747c ~78653415081b3c6b78 ~7c6f3g0f"},
    {'h', 7, "000c ~0715446577 777c"},
    {'i', 0, "040c 0001"},
    {'j', 2, "242d ~2d1f0g 2021"},
    {'k', 6, "000c 6409 276c"},
    {'l', 0, "000c"},
    {'m', 12, "040c ~0715345567 676c ~677594b5c7 c7cc"},
    {'n', 7, "040c ~0715446577 777c"},
    {'o', 8, "~4475887b4c1b081544"},
    {'p', 7, "040g ~08154465786b4c1b08"},
    {'q', 7, "747g ~78653415081b3c6b78"},
    {'r', 4, "040c ~07153444"},
    {'s', 6, "~6544240628486a4c2c0b"},
    {'t', 5, "202a ~2a3c5c 0454"},
    {'u', 7, "0409 ~091b3c6b79 747c"},
    {'v', 6, "043c64"},
    {'w', 10, "043c557ca4"},
    {'x', 6, "046c 640c"},
    {'y', 7, "044c 742f ~2f1g0g"},
    {'z', 6, "04640c6c"},
    {'{', 4, "~40212507292d4e"},
    {'|', 0, "000e"},
    {'}', 4, "~00212547292d0e"},
    {'~', 8, "~08266987"},
};
constexpr Glyph kUnknown = {'\0', 6, "00606c0c00"};

constexpr double kUnit = 0.06;  // capitals are 0.72 of the size high
constexpr double kGap = 3.3;    // between letters
constexpr int kCurveSteps = 8;  // straight pieces between two points of a curve

int Digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

// The Catmull-Rom spline through the points.
Stroke Smooth(const Stroke& p) {
  const size_t n = p.size();
  if (n < 3) return p;
  const bool closed = p.front().x == p.back().x && p.front().y == p.back().y;
  Stroke curve;
  for (size_t i = 0; i + 1 < n; ++i) {
    const StrokePoint a = i > 0 ? p[i - 1] : closed ? p[n - 2] : p[0];
    const StrokePoint b = p[i], c = p[i + 1];
    const StrokePoint d = i + 2 < n ? p[i + 2] : closed ? p[1] : p[n - 1];
    for (int step = 0; step < kCurveSteps; ++step) {
      const double t = static_cast<double>(step) / kCurveSteps;
      const auto at = [t](double w, double x, double y, double z) {
        return 0.5 * (2 * x + (y - w) * t + (2 * w - 5 * x + 4 * y - z) * t * t +
                      (3 * x - w - 3 * y + z) * t * t * t);
      };
      curve.push_back({at(a.x, b.x, c.x, d.x), at(a.y, b.y, c.y, d.y)});
    }
  }
  curve.push_back(p.back());
  return curve;
}

const Glyph& Find(char letter) {
  for (const Glyph& glyph : kGlyphs) {
    if (glyph.letter == letter) return glyph;
  }
  return kUnknown;
}

}  // namespace

StrokeText LayOutStrokes(std::string_view text) {
  constexpr int kBaseline = 12;
  StrokeText out;
  double x = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) continue;  // inside of a letter that is not ASCII
    const Glyph& glyph = Find(c);
    std::string_view strokes = glyph.strokes;
    while (!strokes.empty()) {
      const size_t end = strokes.find(' ');
      std::string_view points = strokes.substr(0, end);
      strokes.remove_prefix(end == std::string_view::npos ? strokes.size() : end + 1);
      const bool curve = points.starts_with('~');
      if (curve) points.remove_prefix(1);
      Stroke stroke;
      for (size_t i = 0; i + 1 < points.size(); i += 2) {
        stroke.push_back({(x + Digit(points[i])) * kUnit, (Digit(points[i + 1]) - kBaseline) * kUnit});
      }
      out.strokes.push_back(curve ? Smooth(stroke) : stroke);
    }
    x += glyph.width + kGap;
  }
  out.width = x > 0 ? (x - kGap) * kUnit : 0;
  return out;
}

}  // namespace deepshock
