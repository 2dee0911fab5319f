<?xml version="1.0" encoding="UTF-8"?>
<!-- The application as an accessible page: one heading and one table of label and value for each group. Empty fields are left
     out. The looks ("stil") are the importing stylesheet's. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="eingang.xsl"/>
  <xsl:output method="html" encoding="UTF-8" indent="yes" doctype-system="about:legacy-compat"/>

  <xsl:template match="/">
    <html lang="de">
      <head>
        <title><xsl:value-of select="concat($subject, ' – ', $short)"/></title>
        <style><xsl:call-template name="stil"/></style>
      </head>
      <body>
        <xsl:call-template name="briefkopf"/>
        <main>
          <h1><xsl:value-of select="$subject"/></h1>
          <xsl:if test="$message/@test = 'true'">
            <p class="test"><strong>Testnachricht</strong> – bitte nicht bearbeiten.</p>
          </xsl:if>
          <xsl:call-template name="vortext"/>
          <table class="kopf" aria-label="Angaben zum Eingang">
            <tbody><xsl:call-template name="kopf"/></tbody>
          </table>
          <xsl:apply-templates select="/e:envelope/e:fields/*/instance[*[normalize-space(@e:text)]]" mode="gruppe"/>
          <xsl:apply-templates select="/e:envelope/e:payload" mode="xoev"/>
          <xsl:call-template name="anlagen"/>
        </main>
        <footer>
          <xsl:call-template name="fusszeile"/>
          <p>Automatisch übermittelt durch die Datendrehscheibe. Nachrichtennummer: <xsl:value-of select="$message-id"/></p>
        </footer>
      </body>
    </html>
  </xsl:template>

  <xsl:template name="kopfzeile">
    <xsl:param name="label"/>
    <xsl:param name="text"/>
    <xsl:if test="normalize-space($text)">
      <tr>
        <th scope="row"><xsl:value-of select="$label"/></th>
        <td><xsl:value-of select="normalize-space($text)"/></td>
      </tr>
    </xsl:if>
  </xsl:template>

  <xsl:template match="instance" mode="gruppe">
    <xsl:variable name="titel"><xsl:call-template name="titel"/></xsl:variable>
    <section>
      <h2><xsl:value-of select="$titel"/></h2>
      <table aria-label="{$titel}">
        <tbody><xsl:apply-templates select="*[normalize-space(@e:text)]" mode="feld"/></tbody>
      </table>
    </section>
  </xsl:template>

  <xsl:template match="*" mode="feld">
    <tr>
      <th scope="row"><xsl:value-of select="@e:label"/></th>
      <td><xsl:apply-templates select="." mode="wert"/></td>
    </tr>
  </xsl:template>

  <xsl:template match="*" mode="wert">
    <xsl:value-of select="@e:text"/>
  </xsl:template>

  <xsl:template match="*[count(value) + count(attachment) &gt; 1]" mode="wert">
    <ul>
      <xsl:for-each select="value | attachment"><li><xsl:value-of select="@e:text"/></li></xsl:for-each>
    </ul>
  </xsl:template>

  <!-- A XÖV document has no field table: its leaves, named by the standard's own element names. -->
  <xsl:template match="e:payload" mode="xoev">
    <section>
      <h2>Inhalt der Nachricht <xsl:value-of select="local-name(*)"/></h2>
      <table aria-label="Inhalt der Nachricht">
        <tbody>
          <xsl:for-each select=".//*[not(*)][normalize-space()]">
            <tr>
              <th scope="row"><xsl:value-of select="concat(local-name(..), ' › ', local-name())"/></th>
              <td><xsl:value-of select="."/></td>
            </tr>
          </xsl:for-each>
        </tbody>
      </table>
    </section>
  </xsl:template>

  <xsl:template name="anlagen">
    <xsl:if test="$uploads">
      <section>
        <h2>Anlagen</h2>
        <ul>
          <xsl:for-each select="$uploads">
            <li><xsl:value-of select="@name"/> (<xsl:call-template name="groesse"/>)</li>
          </xsl:for-each>
        </ul>
      </section>
    </xsl:if>
  </xsl:template>

  <xsl:template name="stil">
    <xsl:call-template name="grundstil"/>
  </xsl:template>

  <!-- Colours keep a contrast of at least 7:1 (WCAG 2.1, 1.4.6). -->
  <xsl:template name="grundstil">
    <xsl:variable name="farbe"><xsl:call-template name="farbe"/></xsl:variable>
    <xsl:text>
      body { font-family: "DejaVu Sans", Verdana, Arial, sans-serif; font-size: 11pt; line-height: 1.4; color: #1a1a1a; }
      h1 { font-size: 1.5em; margin: 0 0 0.6em; }
      h2 { font-size: 1.15em; margin: 1.4em 0 0.4em; border-bottom: 2px solid </xsl:text><xsl:value-of select="$farbe"/>; color: <xsl:value-of select="$farbe"/><xsl:text>; }
      table { border-collapse: collapse; width: 100%; }
      th, td { text-align: left; vertical-align: top; padding: 0.25em 0.6em 0.25em 0; border-bottom: 1px solid #cfcfcf; }
      th { width: 35%; font-weight: normal; color: #404040; }
      td { white-space: pre-line; }
      td ul { margin: 0; padding-left: 1.2em; }
      .kopf th, .kopf td { border-bottom: 0; padding-bottom: 0; }
      .test { border: 3px solid #8a0000; color: #8a0000; padding: 0.5em 0.8em; }
      footer { margin-top: 2em; font-size: 0.85em; color: #404040; }
    </xsl:text>
  </xsl:template>
</xsl:stylesheet>
