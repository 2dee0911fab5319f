<?xml version="1.0" encoding="UTF-8"?>
<!-- The annotated envelope as urn:datendrehscheibe:gewerbemeldung:1, for the trade office's procedure. XSLT 3.0.
     Each field becomes an element named after it, with a capital; values of lists carry the technical value as @code and the
     label as text; empty fields are left out. Only what goes with the kind of notice is handed on: a reason for another kind
     may be left over in a field that the form no longer shows. -->
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:gewerbemeldung:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" xmlns:xs="http://www.w3.org/2001/XMLSchema"
                xmlns:map="http://www.w3.org/2005/xpath-functions/map" exclude-result-prefixes="#all" expand-text="yes">
  <xsl:output method="xml" encoding="UTF-8" indent="yes"/>
  <xsl:mode on-no-match="shallow-skip"/>

  <xsl:variable name="fields" select="/e:envelope/e:fields"/>
  <xsl:variable name="art" select="string($fields/meldung/instance/art)"/>
  <xsl:variable name="vordruck" as="map(xs:string, xs:string)"
                select="map{'anmeldung': 'GewA1', 'ummeldung': 'GewA2', 'abmeldung': 'GewA3'}"/>

  <xsl:template match="/e:envelope">
    <xsl:variable name="message" select="e:metadata/e:message"/>
    <Gewerbemeldung version="1" vordruck="{$vordruck($art)}">
      <!-- the procedure recognises a repetition by this id -->
      <Vorgang id="{$message/@id}" ags="{$message/@ags}" eingang="{$message/@received}" test="{$message/@test}"/>
      <Meldung>
        <xsl:apply-templates select="$fields/meldung/instance/(art, *[local-name() = map:get($gruende, $art)], stichtag)"/>
        <xsl:if test="$art = 'abmeldung'">
          <xsl:apply-templates select="$fields/meldung/instance/ursache"/>
        </xsl:if>
        <xsl:apply-templates select="$fields/meldung/instance/nachfolge"/>
      </Meldung>
      <Unternehmen>
        <xsl:apply-templates select="$fields/betrieb/instance/*"/>
      </Unternehmen>
      <xsl:apply-templates select="$fields/(person, vertreter, betriebsstaetten)/instance[*]"/>
      <Taetigkeit>
        <xsl:apply-templates select="$fields/taetigkeit/instance/*"/>
      </Taetigkeit>
      <xsl:apply-templates select="$fields/handwerk/instance[not(eintragung = ('', 'nein'))]"/>
      <xsl:apply-templates select="$fields/(erlaubnis, aufenthalt)/instance[erforderlich = 'true']"/>
      <xsl:apply-templates select="$fields/erklaerung/instance/(anzeigende, bemerkung)"/>
      <xsl:where-populated>
        <Anlagen>
          <xsl:apply-templates select="e:attachments/e:attachment"/>
        </Anlagen>
      </xsl:where-populated>
    </Gewerbemeldung>
  </xsl:template>

  <xsl:variable name="gruende" as="map(xs:string, xs:string)"
                select="map{'anmeldung': 'grundAnmeldung', 'ummeldung': 'grundUmmeldung', 'abmeldung': 'grundAbmeldung'}"/>

  <xsl:variable name="elemente" as="map(xs:string, xs:string)"
                select="map{'person': 'Inhaber', 'vertreter': 'Vertreter', 'betriebsstaetten': 'Betriebsstaette',
                            'handwerk': 'Handwerk', 'erlaubnis': 'Erlaubnis', 'aufenthalt': 'Aufenthaltstitel'}"/>

  <xsl:template match="instance">
    <xsl:element name="{$elemente(local-name(..))}">
      <xsl:attribute name="nummer" select="@n + 1"/>
      <xsl:apply-templates select="* except (strasse, hausnummer, plz, ort)"/>
      <xsl:where-populated>
        <Anschrift>
          <xsl:apply-templates select="strasse, hausnummer, plz, ort"/>
        </Anschrift>
      </xsl:where-populated>
    </xsl:element>
  </xsl:template>

  <xsl:template match="grundAnmeldung | grundUmmeldung | grundAbmeldung" priority="2">
    <Grund code="{.}">{@e:text}</Grund>
  </xsl:template>

  <xsl:template match="staatsangehoerigkeiten/value">
    <Staatsangehoerigkeit code="{.}">{@e:text}</Staatsangehoerigkeit>
  </xsl:template>

  <xsl:template match="betriebsart/value">
    <Betriebsart code="{.}">{@e:text}</Betriebsart>
  </xsl:template>

  <xsl:template match="instance/*[value]" priority="1">
    <xsl:apply-templates select="value"/>
  </xsl:template>

  <xsl:template match="instance/*[not(*)][normalize-space()]">
    <xsl:element name="{upper-case(substring(local-name(), 1, 1)) || substring(local-name(), 2)}">
      <xsl:if test="@e:type = 'choice'">
        <xsl:attribute name="code" select="."/>
      </xsl:if>
      <xsl:value-of select="if (@e:type = 'choice') then @e:text else ."/>
    </xsl:element>
  </xsl:template>

  <xsl:template match="e:attachment">
    <Anlage nummer="{@id}" art="{@role}" medientyp="{@mediaType}" groesse="{@size}" sha256="{@sha256}">
      <xsl:if test="@field">
        <xsl:attribute name="feld" select="@field"/>
      </xsl:if>
      <xsl:if test="@filename">
        <xsl:attribute name="dateiname" select="@filename"/>
      </xsl:if>
      <xsl:value-of select="@name"/>
    </Anlage>
  </xsl:template>
</xsl:stylesheet>
