// SPDX-License-Identifier: Apache-2.0
// Drawing::ToPng: shapes to pixels, edges smoothed by how much of a pixel they cover, then libpng.
#include <png.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "apps/common/drawing.h"
#include "apps/common/stroke_font.h"

namespace deepshock {
namespace {

constexpr double kScale = 2;             // pixels a unit
constexpr double kMaxPixels = 64 << 20;  // bounds memory

class Raster {
 public:
  Raster(int width, int height)
      : width_(width),
        height_(height),
        pixels_(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 255) {}

  int width() const { return width_; }
  int height() const { return height_; }
  const std::vector<uint8_t>& pixels() const { return pixels_; }

  void Blend(int x, int y, Color color, double cover) {
    if (x < 0 || y < 0 || x >= width_ || y >= height_ || cover <= 0) return;
    uint8_t* pixel =
        &pixels_[(static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 3];
    const uint8_t to[3] = {color.r, color.g, color.b};
    for (int i = 0; i < 3; ++i) {
      pixel[i] = static_cast<uint8_t>(std::lround(pixel[i] + std::min(cover, 1.0) * (to[i] - pixel[i])));
    }
  }

  void Fill(double x, double y, double w, double h, Color color) {
    const auto overlap = [](double low, double high, int cell) {
      return std::clamp(std::min(high, cell + 1.0) - std::max(low, static_cast<double>(cell)), 0.0, 1.0);
    };
    for (int j = FirstPixel(y); j <= LastPixel(y + h, height_); ++j) {
      const double rows = overlap(y, y + h, j);
      for (int i = FirstPixel(x); i <= LastPixel(x + w, width_); ++i) {
        Blend(i, j, color, rows * overlap(x, x + w, i));
      }
    }
  }

  // Strokes of a round pen: what several of them cover counts once.
  void Draw(const std::vector<Stroke>& strokes, double pen, Color color) {
    double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
    for (const Stroke& stroke : strokes) {
      for (const StrokePoint& p : stroke) {
        left = std::min(left, p.x), right = std::max(right, p.x);
        top = std::min(top, p.y), bottom = std::max(bottom, p.y);
      }
    }
    const double reach = pen / 2 + 1;
    const int x0 = FirstPixel(left - reach), x1 = LastPixel(right + reach, width_);
    const int y0 = FirstPixel(top - reach), y1 = LastPixel(bottom + reach, height_);
    if (x1 < x0 || y1 < y0) return;
    const auto columns = static_cast<size_t>(x1 - x0 + 1);
    std::vector<double> cover(columns * static_cast<size_t>(y1 - y0 + 1));
    for (const Stroke& stroke : strokes) {
      for (size_t i = 0; i + 1 < stroke.size(); ++i) {
        const StrokePoint a = stroke[i], b = stroke[i + 1];
        const int from_x = std::max(x0, FirstPixel(std::min(a.x, b.x) - reach));
        const int to_x = std::min(x1, LastPixel(std::max(a.x, b.x) + reach, width_));
        const int from_y = std::max(y0, FirstPixel(std::min(a.y, b.y) - reach));
        const int to_y = std::min(y1, LastPixel(std::max(a.y, b.y) + reach, height_));
        for (int y = from_y; y <= to_y; ++y) {
          for (int x = from_x; x <= to_x; ++x) {
            const double distance = Distance(x + 0.5, y + 0.5, a, b);
            double& at = cover[static_cast<size_t>(y - y0) * columns + static_cast<size_t>(x - x0)];
            at = std::max(at, std::clamp(pen / 2 + 0.5 - distance, 0.0, 1.0));
          }
        }
      }
    }
    for (int y = y0; y <= y1; ++y) {
      for (int x = x0; x <= x1; ++x) {
        Blend(x, y, color, cover[static_cast<size_t>(y - y0) * columns + static_cast<size_t>(x - x0)]);
      }
    }
  }

 private:
  static int FirstPixel(double at) { return static_cast<int>(std::floor(std::max(at, 0.0))); }
  static int LastPixel(double at, int size) { return std::min(static_cast<int>(std::ceil(at)), size) - 1; }

  static double Distance(double x, double y, StrokePoint a, StrokePoint b) {
    const double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    const double t = length > 0 ? std::clamp(((x - a.x) * dx + (y - a.y) * dy) / length, 0.0, 1.0) : 0;
    return std::hypot(x - a.x - t * dx, y - a.y - t * dy);
  }

  int width_, height_;
  std::vector<uint8_t> pixels_;  // [height, width, 3]
};

}  // namespace

Result<std::string> Drawing::ToPng() const {
  if (!(width_ > 0 && height_ > 0 && width_ * height_ * kScale * kScale <= kMaxPixels)) {
    return Fail("expected an image of at most {:.0f} pixels, found {:.0f} x {:.0f}", kMaxPixels,
                width_ * kScale, height_ * kScale);
  }
  Raster raster(static_cast<int>(std::lround(width_ * kScale)),
                static_cast<int>(std::lround(height_ * kScale)));
  for (const Shape& s : shapes_) {
    const double x = s.x * kScale, y = s.y * kScale, w = s.w * kScale, h = s.h * kScale,
                 line = s.line * kScale;
    switch (s.kind) {
      case Shape::Kind::kFill:
        raster.Fill(x, y, w, h, s.color);
        break;
      case Shape::Kind::kFrame:
        raster.Fill(x, y, w, line, s.color);
        raster.Fill(x, y + h - line, w, line, s.color);
        raster.Fill(x, y + line, line, h - 2 * line, s.color);
        raster.Fill(x + w - line, y + line, line, h - 2 * line, s.color);
        break;
      case Shape::Kind::kText: {
        StrokeText text = LayOutStrokes(s.text);
        const double shift =
            s.align == Align::kLeft ? 0 : text.width * line / (s.align == Align::kCenter ? 2 : 1);
        for (Stroke& stroke : text.strokes) {
          for (StrokePoint& p : stroke) p = {x - shift + p.x * line, y + p.y * line};
        }
        raster.Draw(text.strokes, std::max(1.0, kPenWidth * line), s.color);
        break;
      }
    }
  }
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(raster.width());
  image.height = static_cast<png_uint_32>(raster.height());
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  if (png_image_write_to_memory(&image, nullptr, &size, 0, raster.pixels().data(), 0, nullptr) == 0) {
    return Fail("cannot write PNG: {}", image.message);
  }
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, raster.pixels().data(), 0, nullptr) == 0) {
    return Fail("cannot write PNG: {}", image.message);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace deepshock
