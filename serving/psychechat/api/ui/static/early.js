// Before the first paint: the theme and the language that were chosen. Nothing else is kept for longer than the tab.
(() => {
  const chosen = (name) => {
    try {
      return localStorage.getItem(`psychechat.${name}`);
    } catch {
      return null;
    }
  };
  const root = document.documentElement;
  const theme = chosen("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const language = chosen("language") ?? navigator.language;
  root.lang = language.toLowerCase().startsWith("zh") ? "zh" : "en";
})();
