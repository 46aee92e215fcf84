#include "sim/network/drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numbers>
#include <tuple>
#include <vector>

#include "sim/network/inventory.h"

namespace lastbit::sim::network {
namespace {

constexpr std::size_t kMostPanels = 8;
constexpr std::size_t kMostSwitches = 64;  // of a layer in a panel
constexpr double kPanelWidth = 560;
constexpr double kPanelHeight = 240;
constexpr double kRoundHeight = 560;  // of a panel with a ring of routers
constexpr double kMargin = 24;
constexpr double kHeader = 64;
constexpr double kNodeHeight = 190;
constexpr const char* kFont = "font-family=\"DejaVu Sans, Helvetica, sans-serif\"";

struct Place {
  double x;
  double y;
};

// Switches of one plane, rail, pod or group, layer by layer.
struct Panel {
  std::uint32_t group;
  std::map<VertexKind, std::vector<std::uint32_t>> layers;  // indices, rising
};

std::string xml_escaped(const std::string& text) {
  std::string escaped;
  for (const char symbol : text) {
    if (symbol == '<') {
      escaped += "&lt;";
    } else if (symbol == '&') {
      escaped += "&amp;";
    } else {
      escaped += symbol;
    }
  }
  return escaped;
}

class Picture {
 public:
  explicit Picture(const Fabric& fabric) : fabric_(fabric), table_(fabric.table()), count_(take_inventory(fabric)) {
    shared_spines_ = fabric.cluster().network.kind == cluster::Fabric::kMultiRail;
    find_panels();
    round_ = count_.routers > 0;
    // Below switches that all panels share, one row of panels.
    columns_ = std::clamp<std::size_t>(shown(), 1, num_top() > 0 ? kMostPanels : 2);
    rows_ = (std::max<std::size_t>(1, shown()) + columns_ - 1) / columns_;
    width_ = 2 * kMargin + 2 * kPanelWidth;
    panel_width_ = 2 * kPanelWidth / static_cast<double>(std::max<std::size_t>(2, columns_));
    top_ = num_top() > 0 ? 90 : 0;
    height_ = kHeader + top_ + static_cast<double>(rows_) * panel_height() + kNodeHeight + kMargin;
  }

  std::string draw() {
    header();
    place_switches();
    if (round_) global_links();
    links();
    switches();
    node();
    svg_ += "</svg>\n";
    return std::move(svg_);
  }

 private:
  template <typename... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(svg_), format, std::forward<Args>(args)...);
  }
  void text(double x, double y, double size, const char* anchor, const std::string& what) {
    put("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" text-anchor=\"{}\" {}>{}</text>\n", x, y, size, anchor, kFont,
        xml_escaped(what));
  }
  [[nodiscard]] double panel_height() const { return round_ ? kRoundHeight : kPanelHeight; }
  [[nodiscard]] std::size_t shown() const { return round_ ? 1 : std::min(kMostPanels, panels_.size()); }

  void find_panels() {
    const auto note = [this](const Vertex& vertex) {
      if (vertex.kind == VertexKind::kCore || (shared_spines_ && vertex.kind == VertexKind::kSpine)) return;
      std::vector<std::uint32_t>& layer = panels_[vertex.group].layers[vertex.kind];
      panels_[vertex.group].group = vertex.group;
      if (layer.empty() || layer.back() < vertex.index) layer.push_back(vertex.index);
    };
    for (std::uint32_t nic = 0; nic < static_cast<std::uint32_t>(fabric_.cluster().nics()); ++nic)
      note(fabric_.topology().switch_of(nic));
    // Switches come in rising order along the links that leave them.
    for (std::uint32_t link = fabric_.first_switch_link(); link < table_.links.size(); ++link) note(table_.from[link]);
  }

  void header() {
    put("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
        "{1:.0f}\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width_, height_);
    const cluster::Cluster& cluster = fabric_.cluster();
    text(kMargin, 28, 18, "start",
         fmt::format("{}: {} nodes of {} GPUs, {}", cluster.name, cluster.nodes, cluster.node.gpus,
                     cluster.network.fabric));
    std::string line = fmt::format(
        "{} switches, {} cables to NICs, {} between switches; link {:.4g} GB/s, NIC {:.4g} GB/s", count_.switches(),
        count_.nic_cables, count_.switch_cables, 1e-9 * count_.switch_link, 1e-9 * count_.nic);
    if (count_.failed_links > 0) line += fmt::format("; {} links failed (red)", count_.failed_links);
    text(kMargin, 48, 12, "start", line);
  }

  // Even places along a row, as many as are shown.
  void place_row(const Panel& panel, VertexKind kind, double left, double y) {
    const auto found = panel.layers.find(kind);
    if (found == panel.layers.end()) return;
    const std::size_t num = std::min(kMostSwitches, found->second.size());
    const double step = (panel_width_ - kMargin) / static_cast<double>(num);
    for (std::size_t i = 0; i < num; ++i)
      places_[{kind, panel.group, found->second[i]}] = {left + kMargin / 2 + (static_cast<double>(i) + 0.5) * step, y};
    if (num < found->second.size())
      text(left + panel_width_ - kMargin, y - 14, 10, "end", fmt::format("+ {} more", found->second.size() - num));
  }

  void place_switches() {
    if (round_) return place_ring();
    std::size_t i = 0;
    for (const auto& [group, panel] : panels_) {
      if (i == shown()) break;
      const double left =
          kMargin + (panels_.size() == 1 ? panel_width_ / 2 : static_cast<double>(i % columns_) * panel_width_);
      const std::size_t row = i / columns_;
      const double top = kHeader + top_ + static_cast<double>(row) * kPanelHeight;
      put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#fafafa\" stroke=\"#dddddd\"/>\n",
          left + 4, top + 4, panel_width_ - 8, kPanelHeight - 8);
      text(left + 14, top + 22, 12, "start", panel_name(group));
      place_row(panel, VertexKind::kSpine, left, top + 62);
      place_row(panel, VertexKind::kLeaf, left, top + 176);
      leaf_label(panel, left, top);
      ++i;
    }
    place_top();
    if (panels_.size() > shown())
      text(width_ - kMargin, kHeader - 16, 12, "end",
           fmt::format("the first {} of {} panels", shown(), panels_.size()));
  }

  [[nodiscard]] std::string panel_name(std::uint32_t group) const {
    if (group == Vertex::kAlone) return fabric_.cluster().network.fabric;
    if (count_.cores > 0) return fmt::format("pod {}", group);
    const bool rails = fabric_.cluster().network.kind == cluster::Fabric::kMultiRail;
    return fmt::format("{} {}", rails ? "rail" : "plane", group);
  }

  void leaf_label(const Panel& panel, double left, double top) {
    const auto found = panel.layers.find(VertexKind::kLeaf);
    if (found == panel.layers.end()) return;
    const int nics = fabric_.cluster().network.kind == cluster::Fabric::kSingleSwitch
                         ? fabric_.cluster().nics()
                         : fabric_.cluster().network.nics_per_leaf;
    text(left + panel_width_ / 2, top + 212, columns_ > 2 ? 9 : 11, "middle",
         fmt::format("{} lea{}, up to {} NICs each", found->second.size(), found->second.size() == 1 ? "f" : "ves",
                     nics));
  }

  [[nodiscard]] std::size_t num_top() const { return shared_spines_ ? count_.spines : count_.cores; }

  // The switches above all panels.
  void place_top() {
    if (num_top() == 0) return;
    const std::size_t num = std::min(kMostSwitches, num_top());
    const double step = (width_ - 4 * kMargin) / static_cast<double>(num);
    for (std::size_t i = 0; i < num; ++i) {
      const auto index = static_cast<std::uint32_t>(i * num_top() / num);
      places_[{shared_spines_ ? VertexKind::kSpine : VertexKind::kCore, Vertex::kAlone, index}] = {
          2 * kMargin + (static_cast<double>(i) + 0.5) * step, kHeader + 40};
    }
    const std::string all = num < num_top() ? fmt::format("{} of {}", num, num_top()) : fmt::format("{}", num);
    text(kMargin, kHeader + 16, 12, "start", all + (shared_spines_ ? " spines, shared by all rails" : " cores"));
  }

  // Groups of a dragonfly around a circle, the routers of each around a small one.
  void place_ring() {
    const double x = width_ / 2;
    const double y = kHeader + kRoundHeight / 2;
    const auto num = static_cast<double>(panels_.size());
    const double outer = kRoundHeight / 2 - 80;
    const double inner = std::min(46.0, 0.8 * outer * std::numbers::pi / std::max(3.0, num));
    std::size_t i = 0;
    for (const auto& [group, panel] : panels_) {
      const double turn = 2 * std::numbers::pi * static_cast<double>(i++) / num - std::numbers::pi / 2;
      const Place centre{x + outer * std::cos(turn), y + outer * std::sin(turn)};
      if (num <= 40)
        text(x + (outer + inner + 34) * std::cos(turn), y + (outer + inner + 16) * std::sin(turn) + 4, 10, "middle",
             fmt::format("group {}", group));
      const std::vector<std::uint32_t>& routers = panel.layers.at(VertexKind::kRouter);
      for (std::size_t r = 0; r < routers.size(); ++r) {
        const double its = 2 * std::numbers::pi * static_cast<double>(r) / static_cast<double>(routers.size());
        places_[{VertexKind::kRouter, group, routers[r]}] = {centre.x + inner * std::cos(its),
                                                             centre.y + inner * std::sin(its)};
      }
    }
  }

  [[nodiscard]] bool both_shown(std::uint32_t link, Place& from, Place& to) const {
    const auto a = places_.find(key(table_.from[link]));
    const auto b = places_.find(key(table_.to[link]));
    if (a == places_.end() || b == places_.end()) return false;
    from = a->second;
    to = b->second;
    return true;
  }

  // Links of all switches that are shown, failed ones last so that they lie on top. A cable is two directed links, of
  // which one is drawn unless the other has failed.
  void links() {
    for (const bool failed : {false, true}) {
      put("<g stroke=\"{}\" stroke-width=\"{}\" fill=\"none\">\n", failed ? "#cc2222" : "#8899aa",
          failed ? "1.6" : (round_ ? "0.6" : "0.35"));
      Place from{};
      Place to{};
      for (std::uint32_t link = fabric_.first_switch_link(); link < table_.links.size(); ++link) {
        if (fabric_.alive(link) == failed) continue;
        const bool first = key(table_.from[link]) < key(table_.to[link]);
        const bool global = round_ && table_.from[link].group != table_.to[link].group;
        if ((!failed && !first) || (global && !failed) || !both_shown(link, from, to)) continue;
        put("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", from.x, from.y, to.x, to.y);
      }
      put("</g>\n");
    }
  }

  void global_links() {
    put("<g stroke=\"#5577cc\" stroke-width=\"0.5\" fill=\"none\" opacity=\"0.7\">\n");
    Place from{};
    Place to{};
    const double x = width_ / 2;
    const double y = kHeader + kRoundHeight / 2;
    for (std::uint32_t link = fabric_.first_switch_link(); link < table_.links.size(); ++link) {
      if (table_.from[link].group >= table_.to[link].group || !fabric_.alive(link) || !both_shown(link, from, to))
        continue;
      put("<path d=\"M{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}\"/>\n", from.x, from.y,
          x + 0.25 * (from.x + to.x - 2 * x), y + 0.25 * (from.y + to.y - 2 * y), to.x, to.y);
    }
    put("</g>\n");
  }

  void switches() {
    static constexpr const char* kColours[] = {"", "", "", "#3377bb", "#dd8833", "#aa4499", "#338866"};
    for (const auto& [its, place] : places_) {
      const auto kind = std::get<0>(its);
      const double size = round_ ? 5 : 8;
      put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" rx=\"1.5\" "
          "fill=\"{}\"><title>{}</title></rect>\n",
          place.x - size / 2, place.y - size / 2, size, size, kColours[static_cast<std::size_t>(kind)],
          vertex_name({kind, std::get<1>(its), std::get<2>(its)}));
    }
    double x = width_ / 2;
    static const std::vector<std::tuple<VertexKind, const char*>> legend{{VertexKind::kLeaf, "leaf"},
                                                                         {VertexKind::kSpine, "spine"},
                                                                         {VertexKind::kCore, "core"},
                                                                         {VertexKind::kRouter, "router"}};
    for (const auto& [kind, name] : legend) {
      const bool there = std::any_of(places_.begin(), places_.end(),
                                     [k = kind](const auto& entry) { return std::get<0>(entry.first) == k; });
      if (!there) continue;
      put("<rect x=\"{:.1f}\" y=\"20\" width=\"8\" height=\"8\" rx=\"1.5\" fill=\"{}\"/>\n", x + 200,
          kColours[static_cast<std::size_t>(kind)]);
      text(x + 214, 28, 12, "start", name);
      x += 80;
    }
  }

  // Node 0: its GPUs below, the NVSwitch in the middle, NICs above with what they are plugged into.
  void node() {
    const cluster::Node& node = fabric_.cluster().node;
    const double top = height_ - kNodeHeight - kMargin / 2;
    const double left = kMargin + 4;
    const double wide = width_ - 2 * kMargin - 8;
    put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#f4f8f4\" stroke=\"#bbccbb\"/>\n",
        left, top, wide, kNodeHeight - 8);
    text(left + 10, top + 20, 12, "start",
         fmt::format("node 0 of {}: {} GPUs at {:.4g} GB/s NVLink each way, {} NICs", fabric_.cluster().nodes,
                     node.gpus, 1e-9 * count_.nvlink, node.nics));
    const double gpu_step = (wide - 40) / node.gpus;
    const double nic_step = (wide - 40) / node.nics;
    const auto gpu_x = [&](int gpu) { return left + 20 + (gpu + 0.5) * gpu_step; };
    const auto nic_x = [&](int nic) { return left + 20 + (nic + 0.5) * nic_step; };
    const bool labels = node.gpus <= 16;
    for (int gpu = 0; gpu < node.gpus; ++gpu) {
      const int nic = node.nic_of_gpu[static_cast<std::size_t>(gpu)];
      put("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#99aa99\"/>\n", gpu_x(gpu), top + 108,
          nic_x(nic), top + 58);
      put("<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#33aa55\" stroke-width=\"2\"/>\n",
          gpu_x(gpu), top + 124, top + 150);
      const double box = std::min(60.0, 0.7 * gpu_step);
      put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"20\" fill=\"#77bb88\"/>\n", gpu_x(gpu) - box / 2,
          top + 106, box);
      if (labels) text(gpu_x(gpu), top + 120, 11, "middle", fmt::format("GPU {}", gpu));
    }
    for (int nic = 0; nic < node.nics; ++nic) {
      const bool alive = fabric_.alive(fabric_.first_nic_link() + 2 * static_cast<std::uint32_t>(nic));
      const double box = std::min(60.0, 0.7 * nic_step);
      put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"16\" fill=\"{}\"/>\n", nic_x(nic) - box / 2,
          top + 44, box, alive ? "#cccccc" : "#cc2222");
      if (labels) {
        text(nic_x(nic), top + 56, 10, "middle", fmt::format("NIC {}", nic));
        text(nic_x(nic), top + 38, 10, "middle",
             vertex_name(fabric_.topology().switch_of(static_cast<std::uint32_t>(nic))));
      }
    }
    put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"18\" fill=\"#33aa55\"/>\n", left + 20, top + 150,
        wide - 40);
    text(left + wide / 2, top + 163, 11, "middle", "NVSwitch");
  }

  using Key = std::tuple<VertexKind, std::uint32_t, std::uint32_t>;
  [[nodiscard]] static Key key(const Vertex& vertex) { return {vertex.kind, vertex.group, vertex.index}; }

  const Fabric& fabric_;
  const LinkTable& table_;
  Inventory count_;
  std::map<std::uint32_t, Panel> panels_;
  std::map<Key, Place> places_;
  std::string svg_;
  bool round_ = false;
  std::size_t columns_ = 1;
  std::size_t rows_ = 1;
  double width_ = 0;
  bool shared_spines_ = false;  // drawn above all panels, as cores are
  double top_ = 0;
  double panel_width_ = 0;
  double height_ = 0;
};

}  // namespace

std::string draw_svg(const Fabric& fabric) { return Picture(fabric).draw(); }

}  // namespace lastbit::sim::network
