"use strict";
(() => {
  const config = {{CONFIG}};
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const places = document.querySelectorAll(".chart");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = [];

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue("--" + name).trim();
    return { ink: of("ink"), soft: of("soft"), line: of("line") };
  };

  const themed = ({ ink, soft, line }) => ({
    ...config,
    axis: { ...config.axis, labelColor: soft, titleColor: ink, gridColor: line, domainColor: line, tickColor: line },
    legend: { ...config.legend, labelColor: ink, titleColor: ink },
    text: { color: ink },
    title: { color: ink },
  });

  const draw = async (n) => {
    const paint = colours();
    const spec = structuredClone(specs[n]);
    for (const param of spec.params ?? []) if (param.name === "ink") param.value = paint.ink;
    // `ast` has expressions interpreted, so that the page's policy can forbid `eval`.
    const options = { actions: false, ast: true, renderer: "svg", config: themed(paint), tooltip: { theme: "custom" } };
    try {
      views[n]?.finalize();
      views[n] = await vegaEmbed(places[n], spec, options);
    } catch (error) {
      places[n].classList.add("failed");
      places[n].textContent = "This plot could not be drawn: " + error.message;
      console.error(error);
    }
  };

  // A plot is drawn when it comes near: hundreds of them at once would hold the page up.
  const AT_ONCE = 24;
  const asked = new Set(specs.keys());
  const all = async () => {
    const scheme = dark.matches ? "dark" : "light";
    await Promise.all([...asked].map(draw));
    document.documentElement.dataset.drawn = scheme;
  };
  if (specs.length > AT_ONCE) {
    asked.clear();
    const near = new IntersectionObserver((seen) => {
      for (const entry of seen) if (entry.isIntersecting) {
        near.unobserve(entry.target);
        const n = [...places].indexOf(entry.target);
        asked.add(n);
        draw(n);
      }
    }, { rootMargin: "800px" });
    places.forEach((place) => near.observe(place));
    addEventListener("beforeprint", () => specs.forEach((_, n) => { if (!asked.has(n)) { asked.add(n); draw(n); } }));
  }
  dark.addEventListener("change", all);
  all();
})();
